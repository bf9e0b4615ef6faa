"""What surrounds the runs: `python -m experiments COMMAND`."""
