"""The files of the logs folder: how they are written, read back and checked."""
