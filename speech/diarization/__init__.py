"""Who spoke when: pure algorithms from probabilities and embeddings to turns. No files, no models, no clock."""
