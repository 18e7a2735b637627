"""The writer of the prepared arrays."""
