"""pcclip: teach CLIP what it means that two pictures differ."""

__version__ = "0.1.0"
