"""Synthetic speech for training: text choice, voices, and feature shards on disk."""
