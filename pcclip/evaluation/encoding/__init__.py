"""Models as encode functions, and the caches of what they have encoded."""
