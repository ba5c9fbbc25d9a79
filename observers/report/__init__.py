"""A trading date told from the files alone: gathered by `day`, written by `text` and `page`, drawn by `charts`."""
