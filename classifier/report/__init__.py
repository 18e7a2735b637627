"""Figures, the HTML report and the model card, from files alone."""
