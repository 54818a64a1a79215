"""Compiled arithmetic for networks that ONNX Runtime runs slower than the processor could: written once, in vectors.

`vectors` emits vector instructions, `tiles` multiplies matrices, `winograd` convolves 3 by 3 with fewer products,
`campplus` is a whole speaker network made of these. Everything works on flat float32 arrays and offsets into them.
"""
