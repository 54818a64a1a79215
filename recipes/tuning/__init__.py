"""Recordings to choose decoding weights with, so that nothing is chosen on those that are reported."""
