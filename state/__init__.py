"""The trader's state: the model, its events, and the files that hold them. No network."""
