"""Thin Lightning shells around evaluations, run records and health checks."""
