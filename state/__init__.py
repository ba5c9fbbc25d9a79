"""What the trader remembers: the model, its events, and the files that hold them. Knows no network."""
