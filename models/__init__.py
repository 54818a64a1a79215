"""Models that come with the server, as package data; no code."""
