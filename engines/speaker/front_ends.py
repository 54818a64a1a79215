"""Which features a family's models were trained on. A wrong window alone moves every embedding to cosine 0.93.

WeSpeaker: hamming window, int16 scale. 3D-Speaker: povey window, samples in [-1, 1], and `fbank_config.json` of its
C++ runtime where there is one. sherpa-onnx's conversions: as its extractor does, by the graph's metadata.
Dither is always 0: noise of 1 on samples in [-1, 1] destroys the embeddings (equal error rate 2.7 to 36 %).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engines.errors import BadModel
from engines.families.common import Findings
from engines.speaker.description import SpeakerFamily
from speech.features import PROFILES, FbankConfig

RUNTIME_FILE = "fbank_config.json"
_WINDOWS = {"povey": "povey", "hamming": "hamming", "hanning": "hann"}
_KEYS = {
    "FrameExtractionOptions": {
        "sample_freq": "sample_rate",
        "frame_shift_ms": "frame_shift_ms",
        "frame_length_ms": "frame_length_ms",
        "pre_emphasis_coefficient": "preemphasis",
        "remove_dc_offset": "remove_dc",
    },
    "MelBanksOptions": {"num_bins": "num_bins", "low_freq": "low_hz", "high_freq": "high_hz"},
}
"""What 3D-Speaker's runtime reads and uses; it parses snip_edges, energy and warping keys too and ignores them."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A model's features: filter banks, and whether each utterance's mean is subtracted."""

    fbank: FbankConfig
    subtract_mean: bool


def front_end_of(family: SpeakerFamily, folder: Path, metadata: Mapping[str, str], findings: Findings) -> FrontEnd:
    """Return the family's front end as the folder and the graph's metadata state it. Raises BadModel."""
    if family == "wespeaker":
        if metadata.get("framework") == "wespeaker":
            findings.note("WeSpeaker's own front end is used; sherpa-onnx feeds this graph other features")
        return FrontEnd(PROFILES["wespeaker"], True)
    if family == "3d-speaker":
        path = folder / RUNTIME_FILE
        fbank = _runtime(path, findings) if path.is_file() else PROFILES["3d-speaker"]
        return FrontEnd(fbank, True)
    return _sherpa(metadata, findings)


def _sherpa(metadata: Mapping[str, str], findings: Findings) -> FrontEnd:
    """As sherpa-onnx's `speaker-embedding-extractor`: no snipped edges, 400 Hz left out at the top."""
    if not metadata.get("framework"):
        findings.note("the graph has no sherpa-onnx metadata: samples in [-1, 1] and mean subtraction are assumed")
        return FrontEnd(PROFILES["sherpa-onnx-speaker"], True)
    scale = 32768.0 if metadata.get("normalize_samples", "1") == "0" else 1.0
    rate = metadata.get("sample_rate", "16000")
    if not rate.isdecimal():
        raise BadModel(f"the graph's metadata say sample_rate {rate!r}; expected a number of Hz")
    fbank = _checked(
        "the graph's metadata", PROFILES["sherpa-onnx-speaker"], {"scale": scale, "sample_rate": int(rate)}
    )
    return FrontEnd(fbank, metadata.get("feature_normalize_type") == "global-mean")


def _runtime(path: Path, findings: Findings) -> FbankConfig:
    """Read `fbank_config.json`. Raises BadModel for what no front end of ours can do."""
    try:
        settings: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: not JSON: {error}") from error
    if not isinstance(settings, dict) or not all(isinstance(settings.get(part, {}), dict) for part in _KEYS):
        raise BadModel(f"{path}: expected an object with {' and '.join(_KEYS)}")
    changes = {
        ours: _whole(settings[part][theirs])
        for part, names in _KEYS.items()
        for theirs, ours in names.items()
        if theirs in settings.get(part, {})
    }
    frames = settings.get("FrameExtractionOptions", {})
    window = frames.get("window_type", "povey")
    if window not in _WINDOWS:
        raise BadModel(f"{path}: window_type is {window!r}; known are {', '.join(_WINDOWS)}")
    if not frames.get("round_to_power_of_two", True) or not settings.get("use_log_fbank", True):
        raise BadModel(f"{path}: only logarithms of filter banks over a power of two are known")
    if not settings.get("use_power", True):
        raise BadModel(f"{path}: use_power is false; only power spectra are known")
    if frames.get("dither", 1.0) != 0.0:
        findings.note(f"{path.name} asks for dither (1.0 where it is silent); none is added, as it spoils embeddings")
    return _checked(str(path), PROFILES["3d-speaker"], {**changes, "window": _WINDOWS[window]})


def _whole(value: Any) -> Any:
    """Return 16000 for 16000.0: the runtime's numbers are floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _checked(origin: str, default: FbankConfig, changes: dict[str, Any]) -> FbankConfig:
    try:
        return msgspec.convert({**msgspec.structs.asdict(default), **changes}, FbankConfig)
    except msgspec.ValidationError as error:
        raise BadModel(f"{origin}: {error}") from error
