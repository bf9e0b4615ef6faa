"""Tables from run records alone: no model, no network, no torch."""
