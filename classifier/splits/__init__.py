"""Train, val and test: who goes where, which images are alike, and what is wrong with the data."""
