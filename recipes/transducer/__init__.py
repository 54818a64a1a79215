"""Streaming transducers: encoders, stateless decoder, joiner, loss, training and export to icefall's contracts."""
