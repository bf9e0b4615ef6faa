"""Wrong input of every kind, and what the suite says to it."""
