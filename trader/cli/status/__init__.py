"""What `status` shows: the model, how it is built from the files, and its text."""
