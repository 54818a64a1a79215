"""How numba compiles the searches' kernels: without the GIL, ahead of their first use, cached on disk."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba

compiled: Any = numba.njit(nogil=True, error_model="numpy")
"""For functions that entry points call: compiled as part of them, their types inferred."""


def compile_ahead(signature: str, kernel: Callable[..., Any]) -> Any:
    """Compile an entry point now, from the cache where there is one; where no folder can be written, in memory only."""
    try:
        return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(kernel)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(signature, nogil=True, error_model="numpy")(kernel)


def checksum(files: Iterable[Path]) -> int:
    """Return a number that changes with any of the files; 0 where sources are not plain files.

    Numba decides whether a cached entry point is stale by its own file alone. One that closes over this number of the
    files it calls into has it in its cache key.
    """
    try:
        return zlib.crc32(b"".join(file.read_bytes() for file in files))
    except OSError:
        return 0
