"""Powerset segmentation: which of a few local speakers talk in each frame of a window. `pyannote` loads the graph."""
