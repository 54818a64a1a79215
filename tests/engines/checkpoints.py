"""PyTorch checkpoints written without PyTorch, honest ones and others, and packages that hold them."""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def _named(module: str, name: str) -> Any:
    """Something that pickles as a reference to `module.name`."""
    made = type(name, (), {})
    made.__module__, made.__qualname__ = module, name
    return made


def _rebuild(*_: object) -> None:
    raise AssertionError("only its name is pickled")


_rebuild.__module__, _rebuild.__qualname__, _rebuild.__name__ = (
    "torch._utils",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v2",
)
_FLOAT, _LONG = _named("torch", "FloatStorage"), _named("torch", "LongStorage")


class _Storage:
    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values


class _Tensor:
    def __init__(self, storage: _Storage, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
        self.parts = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self.parts


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        kind = _FLOAT if obj.values.dtype.kind == "f" else _LONG
        return ("storage", kind, obj.key, "cpu", obj.values.size)


def write(path: Path, tree: Mapping[str, Any], *, break_storage: bool = False) -> None:
    """Write a checkpoint; arrays in `tree` (and in dicts in it) become tensors of their own storages."""
    storages: list[np.ndarray] = []

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(each) for key, each in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        whole = value.copy(order="C")
        storages.append(whole.ravel())
        strides = tuple(step // value.itemsize for step in whole.strides)
        return _Tensor(_Storage(str(len(storages) - 1), storages[-1]), value.shape, strides, 0)

    _write(path, convert(dict(tree)), storages, break_storage)


def write_view(path: Path, storage: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    """Write a checkpoint whose one tensor `x` is any view of a storage, possible or not."""
    _write(path, {"x": _Tensor(_Storage("0", storage), shape, strides, offset)}, [storage], False)


def _write(path: Path, tree: Any, storages: list[np.ndarray], break_storage: bool) -> None:
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage, torch.LongStorage, utils._rebuild_tensor_v2 = _FLOAT, _LONG, _rebuild  # type: ignore[attr-defined]
    kept = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})  # pickle looks names up before it writes them
    try:
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=2).dump(tree)
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for key, values in enumerate(storages):
            data = values.tobytes()
            archive.writestr(f"archive/data/{key}", data[:-4] if break_storage else data)


def write_pickle(path: Path, tree: Any) -> None:
    """Write a checkpoint whose pickle is a plain one of `tree`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(tree, protocol=2))


def wheel(folder: Path, package: str, version: str, files: Mapping[str, bytes]) -> Path:
    """Write the smallest package file that pip downloads."""
    stem = f"{package.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    info = f"{stem}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nRequires-Dist: x\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in everything.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in everything))
    return path
