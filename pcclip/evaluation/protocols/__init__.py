"""Protocols: each measures one thing of a model on an evaluation set."""
