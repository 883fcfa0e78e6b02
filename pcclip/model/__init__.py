"""open_clip towers: load, freeze, encode, save."""
