"""Ratings of written texts: by language models, by people, and how far they agree."""
