"""A small diffusion model that paints the shapes world, and a reader of what it painted."""
