"""Evaluation sets in the layouts of their releases."""
