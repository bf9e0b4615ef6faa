"""One run: its checks, its process, its training, its round trip."""
