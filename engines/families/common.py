"""What all families share: findings, checks of declared tensors, and questions that only a run of the graph answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engines.errors import EngineFailed
from engines.manifest import EncoderManifest, Manifest
from engines.ort import Array, OrtModel, TensorInfo

Role = Literal[
    "W1 encoder",
    "W2 encoder",
    "W3 encoder",
    "W3 ctc",
    "W4 streaming",
    "W4 offline",
    "best-index decoder",
    "scores decoder",
    "prefix-tree decoder",
    "second pass",
    "icefall streaming",
    "icefall offline",
    "transducer decoder",
    "transducer joiner",
]
Kind = Literal["float", "int", "bool"]
Wanted = Mapping[str, tuple[Kind, int]]
"""Tensor name to kind of element and rank."""

KNOWN_FRONT_ENDS = ((4, 7), (8, 15), (6, 11), (2, 5))
"""WeNet's convolutional front ends: subsampling and the feature frames that one encoder frame sees."""
USUAL_POSITIONS = 5000  # rows of WeNet's positional table


@dataclass(slots=True)
class Findings:
    """What inspection has to say: problems forbid loading, notes do not."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Add a reason why the model cannot be used."""
        self.problems.append(text)

    def note(self, text: str) -> None:
        """Add something worth knowing."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph of the folder, its role, and the side files that lie with it."""

    path: Path
    model: OrtModel
    role: Role
    config: dict[str, Any]
    train: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a family's `describe` works with."""

    manifest: Manifest
    findings: Findings


def check_tensors(graph: Graph, inputs: Wanted, outputs: Wanted, optional: Wanted, findings: Findings) -> bool:
    """Compare a graph's declared tensors with those of its family; return whether it can be run."""
    model, before = graph.model, len(findings.problems)
    for name, wanted in inputs.items():
        _check_one(graph, "input", name, model.inputs.get(name), wanted, findings, check_rank=True)
    for name, wanted in outputs.items():
        # Exporters invent symbols for output axes, and some lose the rank: a run shows the real shape.
        _check_one(graph, "output", name, model.outputs.get(name), wanted, findings, check_rank=False)
    for name, info in model.inputs.items():
        if name in optional:
            _check_one(graph, "input", name, info, optional[name], findings, check_rank=True)
        elif name not in inputs:
            known = ", ".join([*inputs, *optional])
            findings.problem(f"{graph.path.name} has an input {name} that {graph.role} graphs do not have ({known})")
    floats = {info.dtype.name for info in model.inputs.values() if info.is_float}
    if len(floats) > 1:
        findings.problem(
            f"{graph.path.name} mixes inputs of {' and '.join(sorted(floats))}; one float type is expected"
        )
    return len(findings.problems) == before


def _check_one(
    graph: Graph,
    side: str,
    name: str,
    info: TensorInfo | None,
    wanted: tuple[Kind, int],
    findings: Findings,
    *,
    check_rank: bool,
) -> None:
    kind, rank = wanted
    if info is None:
        findings.problem(f"{graph.path.name} lacks the {side} {name} that a {graph.role} graph has")
        return
    found = "float" if info.is_float else {"i": "int", "b": "bool"}.get(info.dtype.kind, info.dtype.name)
    if found != kind:
        findings.problem(f"{graph.path.name}: {side} {name} holds {info.dtype.name}, expected {_kind_text(kind)}")
    if check_rank and len(info.shape) != rank:
        shape = ", ".join(str(axis) for axis in info.shape)
        findings.problem(f"{graph.path.name}: {side} {name} has shape [{shape}], expected {rank} axes")


def _kind_text(kind: Kind) -> str:
    return {"float": "float32 or float16", "int": "int32 or int64", "bool": "bool"}[kind]


def float_type(model: OrtModel) -> str:
    """Return "float16" or "float32", as the graph's float inputs are."""
    return next((info.dtype.name for info in model.inputs.values() if info.is_float), "float32")


def fixed_sizes(graph: Graph, name: str, axes: tuple[int, ...], findings: Findings) -> tuple[int, ...] | None:
    """Return the sizes of axes that must be numbers, or None after adding a problem."""
    sizes = [graph.model.inputs[name].size(axis) for axis in axes]
    found = tuple(size for size in sizes if size is not None)
    if len(found) == len(axes):
        return found
    shape = ", ".join(str(axis) for axis in graph.model.inputs[name].shape)
    findings.problem(f"{graph.path.name}: input {name} has shape [{shape}]; all its axes but the batch must be numbers")
    return None


def is_batchable(graph: Graph, name: str, findings: Findings) -> bool | None:
    """Tell whether the batch axis of `name` varies; a fixed batch of 1 is noted, any other is a problem (None)."""
    size = graph.model.inputs[name].size(0)
    if size is None:
        return True
    if size == 1:
        findings.note(f"{graph.path.name} takes one stream at a time: its batch axis is fixed at 1")
        return False
    findings.problem(
        f"{graph.path.name}: input {name} has a batch axis fixed at {size}; export it with a dynamic batch axis"
    )
    return None


def try_run(
    graph: Graph, feeds: Mapping[str, Array], findings: Findings, on: str = "input of the shape that it declares"
) -> dict[str, Array] | None:
    """Run the graph on made-up input; a failure is a problem."""
    try:
        return graph.model.run(feeds)
    except EngineFailed as error:
        findings.problem(f"{graph.path.name} does not run on {on}: {error}")
        return None


def runs(graph: Graph, feeds: Mapping[str, Array]) -> bool:
    """Whether the graph accepts `feeds`."""
    try:
        graph.model.run(feeds)
    except EngineFailed:
        return False
    return True


def position_rows(accepts: Callable[[int], bool], chunk: int) -> int | None:
    """Return the rows of a positional table, None when there is no end to them.

    `accepts(first)` tells whether a step whose `chunk` positions begin at `first` runs.
    """
    endless = 1_000_000
    if accepts(endless):
        return None
    if accepts(USUAL_POSITIONS - chunk) and not accepts(USUAL_POSITIONS - chunk + 1):
        return USUAL_POSITIONS
    low, high = -1, endless  # accepts(low) or low is -1; not accepts(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepts(middle) else (low, middle)
    return low + chunk


def position_limit(manifest: Manifest, rows: Callable[[], int | None], first_offset: int, chunk: int) -> int | None:
    """Return the encoder frames between two restarts: whole chunks that fit the table behind `first_offset`."""
    if manifest.positions is not None:
        table: int | None = manifest.positions.limit or None
    else:
        table = rows()
    return None if table is None else max(0, table - first_offset) // chunk * chunk


def front_end(
    graph: Graph,
    half: EncoderManifest | None,
    fits: Callable[[int, int], bool],
    findings: Findings,
    said: Mapping[str, int | None],
) -> tuple[int, int] | None:
    """Find subsampling and context (feature frames of one encoder frame).

    `fits` tells whether a pair agrees with what the graph did; `said` is what side files or metadata state. The graph
    is right: a contradiction is a problem, and no statement is needed for WeNet's own front ends.
    """
    subsampling, context = said.get("subsampling"), said.get("context")
    if half is not None:
        subsampling = half.subsampling or subsampling
        context = half.right_context + 1 if half.right_context is not None else context
    candidates = [
        pair
        for pair in [*KNOWN_FRONT_ENDS, (subsampling, context)]
        if None not in pair and subsampling in (None, pair[0]) and context in (None, pair[1])
    ]
    for known_subsampling, known_context in candidates:
        assert known_subsampling is not None, "pairs with None were left out above"
        assert known_context is not None, "pairs with None were left out above"
        if fits(known_subsampling, known_context):
            return known_subsampling, known_context
    fitting = [pair for pair in KNOWN_FRONT_ENDS if fits(*pair)]
    stated = f"subsampling {subsampling} and context {context}" if candidates else "no known front end"
    found = (
        f"the graph behaves like subsampling {fitting[0][0]} and context {fitting[0][1]}"
        if fitting
        else "the graph does not; state subsampling and right_context in model.toml"
    )
    findings.problem(f"{graph.path.name}: its side files or metadata state {stated}, but {found}")
    return None


def window_fits(window: int, chunk: int) -> Callable[[int, int], bool]:
    """Return the test for a graph that makes `chunk` encoder frames of `window` feature frames."""
    return lambda subsampling, context: (chunk - 1) * subsampling + context == window


def as_int(value: Any) -> int | None:
    """Read an integer of a YAML file or of metadata, None when it is none."""
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None


def as_float(value: Any) -> float | None:
    """Read a number of a YAML file or of metadata, None when it is none."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
