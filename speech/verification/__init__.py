"""Speaker verification without models: comparing vectors, judging audio, and measuring decisions."""
