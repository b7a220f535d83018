"""qtrain: compress trained PyTorch models into small Quantum-Train artifacts."""

__version__ = "0.1.0"
