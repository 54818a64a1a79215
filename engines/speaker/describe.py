"""Look into a speaker model's folder: whose export it is, its sizes, its front end, the shortest utterance it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from engines.errors import BadModel, EngineFailed
from engines.families.common import Findings
from engines.kinds import LOOK, SPEAKER_INPUTS, kind_of_graph, speaker_output
from engines.manifest import Manifest, SpeakerManifest, fbank_config, read_manifest
from engines.ort import OrtModel, TensorInfo
from engines.speaker.description import SpeakerDescription, SpeakerFamily, identity_of
from engines.speaker.front_ends import FrontEnd, front_end_of

FAMILY_OF_INPUT: dict[str, SpeakerFamily] = {"feats": "wespeaker", "feature": "3d-speaker", "x": "sherpa-onnx"}
DEFAULT_THRESHOLD = 0.5
_FEWEST_FRAMES = 3
"""Statistics pooling behind a stride of two needs two rows for a deviation; fewer frames say nothing anyway."""
_MOST_FRAMES = 64  # half a second: no known model needs more to give a finite embedding


@dataclass(frozen=True, slots=True)
class _Graph:
    path: Path
    model: OrtModel

    @property
    def input(self) -> TensorInfo:
        return next(iter(self.model.inputs.values()))


def inspect_speaker(folder: Path) -> SpeakerDescription:
    """Describe the speaker model in `folder`; what is wrong with it is in `problems`. Runs the graph a few times.

    Raises BadModel where there is nothing to describe: no such folder, no speaker graph, an unreadable side file.
    """
    if not folder.is_dir():
        raise BadModel(f"{folder}: no such folder; a speaker model is a folder with an ONNX file")
    manifest, findings = read_manifest(folder), Findings()
    speaker = manifest.speaker or SpeakerManifest()
    graph = _find(folder, speaker.model, findings)
    output = speaker_output(graph.model)
    assert output is not None, "the graph was recognised by its output"
    family = FAMILY_OF_INPUT[graph.input.name]
    front = _front_end(folder, manifest, family, graph, findings)
    dimension, min_frames = _probe(graph, output, front, findings)
    if speaker.threshold is None:
        findings.note(f"no [speaker] threshold in model.toml: {DEFAULT_THRESHOLD} is taken, tune it on your own trials")
    return SpeakerDescription(
        folder=folder,
        name=manifest.name or folder.resolve().name,
        summary=manifest.description,
        family=family,
        graph=graph.path,
        input=graph.input.name,
        output=output,
        dimension=dimension,
        fbank=front.fbank,
        subtract_mean=front.subtract_mean,
        min_frames=min_frames,
        fixed_frames=graph.input.size(1),
        is_batchable=graph.input.size(0) is None,
        threshold=DEFAULT_THRESHOLD if speaker.threshold is None else speaker.threshold,
        identity=speaker.identity or identity_of(graph.path),
        float_type=graph.input.dtype.name,
        notes=tuple(findings.notes),
        problems=tuple(findings.problems),
    )


def _find(folder: Path, stated: str | None, findings: Findings) -> _Graph:
    """Open the stated graph, or the folder's first one that is a speaker's."""
    paths = [folder / stated] if stated is not None else sorted(folder.glob("*.onnx"))
    found: list[_Graph] = []
    for path in paths:
        try:
            model = OrtModel(path, LOOK)
        except BadModel as error:
            if stated is not None:
                raise
            findings.note(str(error))
            continue
        if kind_of_graph(model) == "speaker":
            found.append(_Graph(path, model))
    if not found:
        raise BadModel(
            f"{folder}: no speaker model in {', '.join(path.name for path in paths) or 'it'}: expected an ONNX graph "
            f"with one input ({', '.join(SPEAKER_INPUTS)}) of three axes and one output embs or embedding"
        )
    for other in found[1:]:
        findings.note(f"{other.path.name} is another speaker graph; {found[0].path.name} is used")
    return found[0]


def _front_end(folder: Path, manifest: Manifest, family: SpeakerFamily, graph: _Graph, findings: Findings) -> FrontEnd:
    """The family's front end, changed by model.toml, checked against the graph."""
    front = front_end_of(family, folder, graph.model.metadata, findings)
    speaker, stated = manifest.speaker or SpeakerManifest(), front.subtract_mean
    bins = graph.input.size(2)
    if bins is not None and manifest.features.num_bins is None:
        front = FrontEnd(msgspec.structs.replace(front.fbank, num_bins=bins), stated)
    try:
        fbank = fbank_config(manifest.features, front.fbank)
    except BadModel as error:
        findings.problem(f"model.toml: {error}")
        fbank = front.fbank
    if bins is not None and fbank.num_bins != bins:
        findings.problem(f"{graph.path.name} takes {bins} mel bins, model.toml's front end makes {fbank.num_bins}")
    if graph.input.size(0) not in (None, 1):
        findings.problem(f"{graph.path.name} takes {graph.input.size(0)} utterances at a time; export it with 1 or any")
    return FrontEnd(fbank, stated if speaker.subtract_mean is None else speaker.subtract_mean)


def _probe(graph: _Graph, output: str, front: FrontEnd, findings: Findings) -> tuple[int, int]:
    """Find the size of an embedding and the fewest frames that give a finite one, by running the graph."""
    fixed = graph.input.size(1)
    rng = np.random.default_rng(0)
    counts = [fixed] if fixed is not None else range(_FEWEST_FRAMES, _MOST_FRAMES + 1)
    reason = "its output is not finite"
    for count in counts:
        features = rng.standard_normal((1, count, front.fbank.num_bins)).astype(np.float32)
        try:
            embedding = graph.model.run({graph.input.name: features}, [output])[output]
        except EngineFailed as error:
            reason = str(error)
            continue
        if np.isfinite(embedding).all():
            # Shorter audio is repeated up to the only length that a graph takes.
            return embedding.size, count if fixed is None else min(_FEWEST_FRAMES, fixed)
    tried = f"{fixed} frames" if fixed is not None else f"{_FEWEST_FRAMES} to {_MOST_FRAMES} frames"
    findings.problem(f"{graph.path.name} gives no embedding for {tried} of {front.fbank.num_bins} bins: {reason}")
    return 0, _FEWEST_FRAMES
