"""Speaker models: whose voice an utterance is, as a vector. Families: WeSpeaker, 3D-Speaker, sherpa-onnx.

`describe.inspect_speaker(folder)` looks into a folder, `engine.open_speaker(description)` loads it. Embeddings can be
compared when their `fingerprint` is equal: it stands for the weights and for the front end.
"""
