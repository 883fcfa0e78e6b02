"""Pairs, wordings and writers of differences; imports neither torch nor Lightning."""
