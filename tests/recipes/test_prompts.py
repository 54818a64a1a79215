"""The person to measure with: which prompts count, and what they are said to say."""

import gzip

import pytest

from recipes.prompts import SOUNDS, TRANSCRIPTS, prompts

LINES = """; Core Asterisk Sounds in English

agent-loggedoff: Agent logged off.
dir/spell-a-name: It's  the caller's name...
activated: Activated.
beep: [this is a simple beep tone]
press-1: Please press 1 now.
gone: This one has no recording.
long: {}
""".format("word " * 19)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / TRANSCRIPTS
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(LINES.encode()))
    for name in ("agent-loggedoff", "dir/spell-a-name", "activated", "beep", "press-1", "long"):
        recording = tmp_path / SOUNDS / f"{name}.wav"
        recording.parent.mkdir(parents=True, exist_ok=True)
        recording.touch()
    return tmp_path


def test_prompts_are_what_is_spoken_as_it_is_spelled_and_recorded(folder):
    said = {
        str(SOUNDS / "agent-loggedoff"): "AGENT LOGGED OFF",
        str(SOUNDS / "dir/spell-a-name"): "IT'S THE CALLER'S NAME",
    }
    assert dict(prompts(folder)) == said
    assert [text for _, text in prompts(folder, shortest=1, longest=2)] == ["ACTIVATED"]
