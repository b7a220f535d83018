"""Ours: circuits whose measurement probabilities a small mapping turns into all weights."""
