"""`pcclip serve`: a local page over a folder of pictures."""
