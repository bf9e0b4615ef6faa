"""What is left of a run: its record, where it was made, its mirror in W&B."""
