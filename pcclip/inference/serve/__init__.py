"""`pcclip serve`: a local page over a folder of pictures.

Plain files over aiohttp rather than Gradio, whose pins, calls home and slow first byte it does not need.
"""
