"""What kind of model a folder holds, by the tensors of its graphs. Details are the kinds' own inspections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engines.errors import BadModel
from engines.manifest import read_manifest
from engines.ort import OrtModel, OrtOptions

ModelKind = Literal["recogniser", "speaker", "vad", "segmentation"]
LOOK = OrtOptions(optimise=False)

SPEAKER_INPUTS = ("feats", "feature", "x")
"""WeSpeaker's, 3D-Speaker's and sherpa-onnx's name of the features, (batch, frames, bins)."""
SPEAKER_OUTPUTS = ("embs", "embedding")
VAD_INPUTS = (frozenset({"input", "state"}), frozenset({"input", "h", "c"}))
"""silero-vad: the graph for many streams, and the one for many windows of one stream."""


def kind_of_graph(model: OrtModel) -> ModelKind:
    """Tell a graph's kind by the names and ranks of its tensors; whatever is none of the others is a recogniser's."""
    names = frozenset(model.inputs)
    if any(wanted <= names <= wanted | {"sr"} for wanted in VAD_INPUTS):
        return "vad"
    if len(model.inputs) != 1:
        return "recogniser"
    (info,) = model.inputs.values()
    if info.name in SPEAKER_INPUTS and len(info.shape) == 3 and speaker_output(model) is not None:
        return "speaker"
    if info.name == "x" and info.size(1) == 1 and "y" in model.outputs:
        return "segmentation"
    return "recogniser"


def speaker_output(model: OrtModel) -> str | None:
    """Return the name of the output that holds the embeddings, None when there is none or more than one."""
    found = [name for name in model.outputs if name in SPEAKER_OUTPUTS]
    return found[0] if len(found) == 1 else None


def kind_of_folder(folder: Path) -> ModelKind:
    """Tell what the model in `folder` is; a folder that cannot be read counts as a recogniser's.

    The recogniser's inspection then says what is wrong. Loads graphs without optimising them: a fraction of a second.
    """
    manifest = read_manifest(folder)
    if manifest.speaker is not None:
        return "speaker"
    if manifest.names_graphs:
        return "recogniser"
    for path in sorted(folder.glob("*.onnx")):
        try:
            kind = kind_of_graph(OrtModel(path, LOOK))
        except BadModel:
            continue
        if kind != "recogniser":
            return kind
    return "recogniser"
