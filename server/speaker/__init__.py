"""The Speaker service: embeddings, verification, the gallery of enrolled speakers, diarization."""
