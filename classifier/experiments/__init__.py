"""Revisions and experiments: compare, ensemble, folds, recipes, tune."""
