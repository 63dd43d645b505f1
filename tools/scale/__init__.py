"""Training on many processes and machines with PyTorch: see docs/scale.md."""
