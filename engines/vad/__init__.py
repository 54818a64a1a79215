"""Voice activity: how likely each 32 ms of audio holds speech. Which stretches follow from it is decided elsewhere."""
