"""Reports on finished runs: one page to open, mail and print, and its tables as Markdown and CSV."""
