"""What is remembered, and the one function that changes it. Pure: no file, no clock, no network."""
