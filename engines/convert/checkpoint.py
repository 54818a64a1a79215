"""Read PyTorch checkpoints into numpy without PyTorch and without running what is in them.

A `.pt` file is a zip with one pickle and the raw storages. Unpickling runs whatever the pickle names, so only the
names that rebuild tensors are let through; anything else is refused by name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from engines.errors import BadModel

Array = npt.NDArray[Any]
Tree = dict[str, Any]
"""Nested dicts, lists and plain values with arrays where the checkpoint has tensors."""


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: np.dtype[Any]


_STORAGES = {
    "FloatStorage": _StorageType(np.dtype("<f4")),
    "DoubleStorage": _StorageType(np.dtype("<f8")),
    "HalfStorage": _StorageType(np.dtype("<f2")),
    "LongStorage": _StorageType(np.dtype("<i8")),
    "IntStorage": _StorageType(np.dtype("<i4")),
}


def read_checkpoint(file: Path | BinaryIO) -> Tree:
    """Return the checkpoint's dictionary. Raises BadModel for anything else than a dictionary of tensors and values."""
    name = file.name if isinstance(file, Path) else "checkpoint"
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive, name)
    except (zipfile.BadZipFile, OSError) as error:
        raise BadModel(f"{name}: not a PyTorch checkpoint: {error}") from error


def tensors(tree: Tree) -> dict[str, Array]:
    """Return the arrays of a dictionary, without the counters that training keeps."""
    return {name: value for name, value in tree.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}


def _read(archive: zipfile.ZipFile, name: str) -> Tree:
    pickles = [entry for entry in archive.namelist() if entry.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise BadModel(f"{name}: {len(pickles)} data.pkl in it; a PyTorch checkpoint has one")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise BadModel(f"{name}: big-endian storages")
    try:
        tree = _Unpickler(archive, folder, name).load()
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadModel(f"{name}: damaged: {error}") from error
    if not isinstance(tree, dict):
        raise BadModel(f"{name}: holds a {type(tree).__name__}, expected a dictionary of tensors")
    return tree


class _Unpickler(pickle.Unpickler):
    """Lets tensors through and nothing else. One checkpoint, then thrown away."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, name: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive = archive
        self._folder = folder
        self._name = name
        self._storages: dict[str, Array] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise BadModel(f"{self._name}: its pickle asks for {module}.{name}; only tensors are read")

    def persistent_load(self, pid: Any) -> Array:
        """Return the storage that ("storage", type, key, location, count) names, read once."""
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise BadModel(f"{self._name}: its pickle asks for {kind!r}; only tensors are read")
        if key not in self._storages:
            data = self._archive.read(f"{self._folder}data/{key}")
            self._storages[key] = np.frombuffer(data, storage_type.dtype)
        storage = self._storages[key]
        if len(storage) != count:
            raise BadModel(f"{self._name}: storage {key} has {len(storage)} numbers, {count} are announced")
        return storage


def _rebuild(storage: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> Array:
    """Return a copy of the tensor's part of its storage; strides count numbers. Raises ValueError outside of it."""
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0 or (0 not in shape and last >= len(storage)):
        raise ValueError(f"a tensor of shape {shape} at {offset} does not fit a storage of {len(storage)} numbers")
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()
