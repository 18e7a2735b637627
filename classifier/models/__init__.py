"""Networks, the registry that builds them, the model file, and the forward pass."""
