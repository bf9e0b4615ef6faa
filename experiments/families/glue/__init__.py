"""Sentences and pairs of sentences: an encoder with a new head."""
