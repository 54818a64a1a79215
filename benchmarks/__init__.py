"""Measurements run by hand; each is a module with a command line: `python -m benchmarks.search`."""
