"""Circuits and their probabilities. Knows nothing of weights, tasks or files."""
