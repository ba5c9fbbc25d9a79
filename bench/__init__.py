"""Measures the trader against floors (the least possible work) and peers (other programs): `make bench`."""
