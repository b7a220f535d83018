"""Everything that touches disk: plain values in, plain values out."""
