"""The figures: one module a subject; `collection` decides which a run gets."""
