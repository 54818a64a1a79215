"""ONNX graphs, encoder caches by slot, model folders. Arrays in, arrays out: no event loop, no calls, no queues.

Import from the submodules (`from engines.load import load`): this file imports none of them, so that naming an error
does not load ONNX Runtime.
"""
