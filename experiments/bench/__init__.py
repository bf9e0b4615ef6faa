"""What methods cost, side by side: `python -m experiments bench NAME`, a file of conf/bench."""
