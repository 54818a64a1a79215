"""What inspection finds in a speaker model's folder, as plain values."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from msgspec import Struct

from engines.errors import BadModel
from speech.features import FbankConfig

SpeakerFamily = Literal["wespeaker", "3d-speaker", "sherpa-onnx"]
_BLOCK = 1 << 20


class SpeakerDescription(Struct, frozen=True, kw_only=True):
    """A folder with a speaker model; every size is the graph's own.

    `min_frames` feature frames give the first finite embedding. `fixed_frames`: the only length that the graph takes,
    to which fewer are repeated; None when lengths vary. `threshold`: the cosine from which two embeddings count as one
    voice.
    """

    folder: Path
    name: str
    summary: str
    family: SpeakerFamily
    graph: Path
    input: str
    output: str
    dimension: int
    fbank: FbankConfig
    subtract_mean: bool
    min_frames: int
    fixed_frames: int | None = None
    is_batchable: bool = True
    threshold: float
    identity: str
    float_type: str = "float32"
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def require_usable(self) -> None:
        """Raise BadModel with every problem found."""
        if self.problems:
            raise BadModel(f"{self.folder}: {'; '.join(self.problems)}")


def identity_of(graph: Path) -> str:
    """Name the weights by the bytes of the graph and of the data files beside it that begin with its name."""
    digest = hashlib.sha256()
    for path in sorted(graph.parent.glob(graph.name + "*")):
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]
