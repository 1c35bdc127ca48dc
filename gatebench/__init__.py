"""gatebench: a benchmark for adaptive (gated) neural networks."""

__version__ = "0.1.0"
