"""What a reader looks at beside the numbers: base and tuned model on the same pictures."""
