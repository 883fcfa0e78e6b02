"""Evaluation protocols over encode functions, with confidence intervals."""
