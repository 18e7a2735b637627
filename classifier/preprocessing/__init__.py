"""The writer of the prepared images."""
