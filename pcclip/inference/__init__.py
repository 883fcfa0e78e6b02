"""The tuned model in use: difference, ranking, search; Python, command line and a local page."""
