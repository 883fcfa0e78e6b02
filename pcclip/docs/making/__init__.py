"""Makes the reference from docstrings, parsers and configurations, and draws the pages' figures."""
