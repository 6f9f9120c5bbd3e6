"""Networks as tensors in, tensors out; what they are, where their weights lie, how they may be tiled."""
