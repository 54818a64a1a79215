"""`chorus transcribe --diarize` with the real models on the bundled dialogue, whose truth is known."""

import json

import pytest
from click.testing import CliRunner

from client.transcribe import transcribe
from speech.rttm import read_rttm
from tests.real_models import NAMES, ROOT, needs_speaker_models

DIALOGUE = ROOT / "models" / "demo" / "dialogue"


@pytest.mark.slow
@needs_speaker_models
def test_the_words_of_the_bundled_dialogue_belong_to_who_says_them() -> None:
    models = ",".join(["embedded", *NAMES])
    audio = str(DIALOGUE / "dialogue.ogg")
    result = CliRunner().invoke(transcribe, ["--offline", "--diarize", "--json", "--models", models, audio])
    assert result.exit_code == 0, result.stderr
    turns = read_rttm((DIALOGUE / "dialogue.rttm").read_text(encoding="utf-8"))
    words = [word for each in json.loads(result.stdout)["results"] for word in each["alternatives"][0]["words"]]

    sure = []
    for word in words:
        middle = (word["start_ms"] + word["end_ms"]) / 2000
        who = {turn.speaker for turn in turns if turn.begin_s <= middle < turn.end_s}
        if len(who) == 1:  # one voice alone
            sure.append((who.pop(), word["speaker"]))
    right = sum(pair in (("ann", 1), ("ben", 2)) for pair in sure)
    assert len(sure) > 40
    assert right >= 0.95 * len(sure), sure
