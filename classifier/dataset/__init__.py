"""The reader of the prepared images."""
