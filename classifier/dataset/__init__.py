"""The reader of the prepared arrays."""
