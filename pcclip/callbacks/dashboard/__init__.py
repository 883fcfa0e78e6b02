"""What a run shows in TensorBoard beside the numbers it logs: a page by purpose, pictures, texts, vectors."""
