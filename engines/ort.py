"""One ONNX graph in ONNX Runtime: its declared tensors, and running it. What the tensors mean is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from engines.errors import BadModel, EngineFailed

Array = npt.NDArray[Any]

_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
}
_FATAL = 4  # ONNX Runtime's log severity: our errors carry its messages, so it need not print them as well


@dataclass(frozen=True, slots=True)
class OrtOptions:
    """How a graph runs. `intra_threads` 0 takes every processor; spinning trades idle processor time for latency.

    `rewrite` lets streaming encoders run a cheaper graph of the same numbers (`engines/convert/depthwise.py`), and
    CAM++ run in compiled kernels (`engines/speaker/network.py`).
    `optimise` false loads a graph quickly to look at it. `arena` false returns memory after every run.
    """

    intra_threads: int = 1
    allow_spinning: bool = False
    provider: str = "CPUExecutionProvider"
    optimise: bool = True
    rewrite: bool = True
    arena: bool = True


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A declared input or output; an axis is a number, or a name (or None) when it may vary."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]

    @property
    def is_float(self) -> bool:
        """Whether the elements are float32 or float16."""
        return self.dtype in (np.float32, np.float16)

    def size(self, axis: int) -> int | None:
        """Return the axis' fixed size, None when it may vary or does not exist."""
        value = self.shape[axis] if -len(self.shape) <= axis < len(self.shape) else None
        return value if isinstance(value, int) else None


# What stands in a file's place where a repository was cloned without its large files.
_LFS_POINTER = b"version https://git-lfs"


class OrtModel:
    """An ONNX Runtime session. Running is thread safe; ends when it is collected."""

    def __init__(self, path: Path, options: OrtOptions, graph: bytes | None = None) -> None:
        """Load the graph, or `graph` in its place: the same one rewritten.

        Raises BadModel when the file is missing, damaged or no graph that this runtime can run.
        """
        self.path = path
        if not path.is_file():
            raise BadModel(f"{path}: no such file")
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise BadModel(
                    f"{path}: a pointer of Git LFS, not the file itself; run `git lfs pull` in its repository"
                )
        providers = _providers(options.provider)
        try:
            self.session = onnxruntime.InferenceSession(
                graph or str(path), sess_options=_session_options(options), providers=providers
            )
        except Exception as error:  # the runtime's error classes share no public base
            raise BadModel(f"{path}: not an ONNX graph that can be run: {first_line(error)}") from error
        self.inputs = _infos(path, self.session.get_inputs())
        self.outputs = _infos(path, self.session.get_outputs())
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the graph on the feeds it has inputs for; others are left out, as exporters drop unused inputs.

        Feeds are cast to the declared element types, float16 outputs to float32. Raises EngineFailed.
        """
        names = list(self.outputs) if outputs is None else list(outputs)
        cast = {name: _as(feeds[name], info.dtype) for name, info in self.inputs.items() if name in feeds}
        try:
            values = self.session.run(names, cast)
        except Exception as error:
            raise EngineFailed(f"{self.path.name} failed: {first_line(error)}") from error
        return {name: _from_half(value) for name, value in zip(names, values, strict=True)}


def _session_options(options: OrtOptions) -> Any:
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.intra_threads
    session.inter_op_num_threads = 1
    session.log_severity_level = _FATAL
    # Shapes vary from batch to batch: planned patterns would be kept for every shape ever seen.
    session.enable_mem_pattern = False
    session.enable_cpu_mem_arena = options.arena
    levels = onnxruntime.GraphOptimizationLevel
    session.graph_optimization_level = levels.ORT_ENABLE_ALL if options.optimise else levels.ORT_DISABLE_ALL
    session.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.allow_spinning else "0")
    session.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return session


def _providers(provider: str) -> list[str]:
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise BadModel(f"this ONNX Runtime has no provider {provider}; it has {', '.join(available)}")
    return [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]


def _infos(path: Path, values: Sequence[Any]) -> dict[str, TensorInfo]:
    unknown = [f"{value.name} ({value.type})" for value in values if value.type not in _NUMPY_TYPES]
    if unknown:
        raise BadModel(f"{path}: tensors of a type that no known model has: {', '.join(unknown)}")
    return {value.name: TensorInfo(value.name, _NUMPY_TYPES[value.type], tuple(value.shape)) for value in values}


def _as(value: Array, dtype: np.dtype[Any]) -> Array:
    return value if value.dtype == dtype else value.astype(dtype)


def _from_half(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype == np.float16 else value


def first_line(error: BaseException) -> str:
    """Return the first line of a runtime's message, which names the operator; the rest is a trace of its source."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
