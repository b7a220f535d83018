"""What a method's tensors are to the model: its layout, and what becomes of it."""
