"""The life of a run: what it shows, how it stops, and what it keeps to go on from."""
