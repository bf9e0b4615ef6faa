"""Mathematical reasoning with causal language models: examples, generation, answers."""
