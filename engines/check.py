"""What a model folder of any kind is, in plain words or as JSON (`chorus models check`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.describe import inspect
from engines.errors import EngineError
from engines.kinds import ModelKind, kind_of_folder
from engines.ort import OrtModel, OrtOptions
from engines.report import describe_json, describe_text, features_text
from engines.speaker.describe import inspect_speaker
from engines.speaker.description import SpeakerDescription
from engines.speaker.engine import SpeakerEngine
from engines.vad.silero import SileroVad

_FAMILIES = {
    "wespeaker": "WeSpeaker export",
    "3d-speaker": "3D-Speaker export",
    "sherpa-onnx": "sherpa-onnx conversion",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A folder's description in both forms, whether it can be served, and a recogniser's token file."""

    text: str
    json: str
    is_usable: bool
    tokens_path: Path | None = None


def look_into(folder: Path) -> Finding:
    """Describe the model in `folder`, whatever kind it is. Raises BadModel where there is nothing to describe."""
    kind = kind_of_folder(folder)
    if kind == "recogniser":
        description = inspect(folder)
        return Finding(
            describe_text(description), describe_json(description), not description.problems, description.tokens_path
        )
    if kind == "speaker":
        return _speaker(inspect_speaker(folder))
    return _other(folder, kind)


def _speaker(description: SpeakerDescription) -> Finding:
    fingerprint = "" if description.problems else SpeakerEngine(description).fingerprint
    batching = "utterances of equal length are batched" if description.is_batchable else "one utterance at a time"
    if description.fixed_frames is not None:
        batching += f", {description.fixed_frames} frames each and no other length"
    mean = "each utterance's mean subtracted" if description.subtract_mean else "no mean subtracted"
    lines = [f"{description.name}  ({description.folder})"]
    lines += [f"  {description.summary}"] * bool(description.summary)
    lines += [
        f"  speaker     {_FAMILIES[description.family]} ({description.graph.name}, {description.float_type})",
        f"              embeddings of {description.dimension} numbers, {batching}",
        f"              one voice from cosine {description.threshold:g}; at least {description.min_frames} frames",
        f"  features    {features_text(description.fbank)}",
        f"              {description.fbank.window} window, {mean}",
    ]
    lines += [f"  fingerprint {fingerprint}"] * bool(fingerprint)
    lines += [f"  note        {note}" for note in description.notes]
    lines += [f"  problem     {problem}" for problem in description.problems]
    json = msgspec.json.encode(
        {"kind": "speaker", "fingerprint": fingerprint, **msgspec.structs.asdict(description)}, enc_hook=str
    ).decode()
    return _ended(lines, json, len(description.problems))


def _other(folder: Path, kind: ModelKind) -> Finding:
    """Voice activity and segmentation have nothing to choose: a folder loads or it does not."""
    problems = []
    try:
        if kind == "vad":
            SileroVad(folder)
        else:
            for path in folder.glob("*.onnx"):
                OrtModel(path, OrtOptions())
    except EngineError as error:
        problems.append(str(error))
    words = {"vad": "voice activity (silero-vad)", "segmentation": "who speaks when (pyannote segmentation)"}
    lines = [f"{folder.resolve().name}  ({folder})", f"  {words[kind]}"]
    lines += [f"  problem     {problem}" for problem in problems]
    json = msgspec.json.encode({"kind": kind, "folder": str(folder), "problems": problems}).decode()
    return _ended(lines, json, len(problems))


def _ended(lines: list[str], json: str, count: int) -> Finding:
    lines.append("  ready to serve" if count == 0 else f"  cannot be served: {count} problem{'s' * (count > 1)}")
    return Finding("\n".join(lines), json, count == 0)
