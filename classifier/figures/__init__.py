"""Figures of a run, drawn without torch."""
