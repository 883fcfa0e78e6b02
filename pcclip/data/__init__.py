"""Records, shards, the embedding bank, the stream and the datamodule."""
