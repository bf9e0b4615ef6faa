"""Where rows and weights come from: the hub, a folder, or the suite itself."""
