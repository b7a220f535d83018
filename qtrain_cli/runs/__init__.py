"""What commands share: one run from its inputs to its file."""
