"""Published data sets that can be taken by name."""
