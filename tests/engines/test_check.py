"""Any model folder in plain words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from engines.check import look_into
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import open_speaker
from server.cli import models
from tests.engines import vad_graphs

MODELS = Path(__file__).parents[1] / "data" / "models"


def test_speaker_model_is_described_with_size_front_end_and_fingerprint() -> None:
    found = look_into(MODELS / "speaker-wespeaker")
    assert found.is_usable
    for words in ("WeSpeaker export", "32 numbers", "hamming window", "mean subtracted", "ready to serve"):
        assert words in found.text
    fingerprint = open_speaker(inspect_speaker(MODELS / "speaker-wespeaker")).fingerprint
    assert f"fingerprint {fingerprint}" in found.text
    decoded = json.loads(found.json)
    assert (decoded["kind"], decoded["dimension"], decoded["fingerprint"]) == ("speaker", 32, fingerprint)


def test_speaker_model_with_a_problem_cannot_be_served(tmp_path: Path) -> None:
    shutil.copy(MODELS / "speaker-3dspeaker" / "model.onnx", tmp_path)
    (tmp_path / "model.toml").write_text("[features]\nnum_bins = 40\n")
    result = CliRunner().invoke(models, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert "takes 80 mel bins" in result.output
    assert "cannot be served: " in result.output


def test_recognisers_and_voice_activity_are_told_apart(tmp_path: Path) -> None:
    vad_graphs.sequence(tmp_path / "sequence.onnx")
    assert "voice activity" in look_into(tmp_path).text
    assert "streaming   WeNet GPU export" in look_into(MODELS / "w2").text
