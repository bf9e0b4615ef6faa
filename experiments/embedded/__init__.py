"""Data and backbones made by the suite itself: no hub, no download. Each family says which are its own."""
