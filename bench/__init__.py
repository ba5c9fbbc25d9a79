"""Measures the trader against its floors and its peers, in interleaved runs: `make bench`."""
