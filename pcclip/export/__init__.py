"""A tuned model out of the framework: open_clip, transformers, hub folders, with a model card."""
