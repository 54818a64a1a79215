"""Pure signal and text code: audio, features, framing, search, endpoints, results. No I/O loops, no clocks.

Import from the submodules (`from speech.framing import Framer`): this file imports none of them, so that reading
PCM does not load numba or libav.
"""
