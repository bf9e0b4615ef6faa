"""Proof that sweeps lose nothing: one that is killed at random, watched, and held against one that was left alone."""
