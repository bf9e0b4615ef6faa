"""What is asked for: the command line, composed and checked, and what makes two runs the same run."""
