"""How numbers become tensors: one file a method, `table` has them all."""
