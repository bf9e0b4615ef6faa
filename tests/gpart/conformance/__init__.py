"""What PEFT's own test-suite asks of every method, asked of GPart with every scheme on every kind of model."""
