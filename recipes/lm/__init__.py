"""Builds n-gram language models: counts, modified Kneser-Ney smoothing, pruning, ARPA."""
