"""`pcclip compare`: experiments beside each other, with tests of what differs."""
