"""Offline recipes: speech synthesis, training and export. Nothing here is imported by the server."""
