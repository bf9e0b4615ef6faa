"""Image classification: transforms, image classifiers and their adaptable attention."""
