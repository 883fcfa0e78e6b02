"""Captioned picture sets: where pictures, captions and attributes come from."""
