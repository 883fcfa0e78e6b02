"""Sweeps: many fits with other settings, one chosen by validation data alone."""
