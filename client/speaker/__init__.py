"""Speaker embedding, verification and the gallery, from Python and from the command line."""
