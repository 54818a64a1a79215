import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client import demo, demo_speakers
from client.embedded import EmbeddedServer
from tests.server.speaker.support import WESPEAKER, folder_of

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "models" / "w2"


def test_the_demo_shows_growing_texts_and_is_not_content_with_nonsense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has random weights: all of the demo runs, and its last word is that something is broken."""
    asked: list[str] = []

    def tiny_server(models: str, *, arguments: list[str]) -> EmbeddedServer:
        asked.extend([*arguments, models])
        return EmbeddedServer(TINY)  # which no language model of words fits

    monkeypatch.setattr(demo, "EmbeddedServer", tiny_server)
    monkeypatch.setattr(demo, "PACE", 40.0)
    monkeypatch.setattr("sys.argv", ["demo", "--no-fetch"])
    assert demo.main() == 1
    shown = capsys.readouterr().out
    assert asked[0] == "--lm"
    assert Path(asked[1]).is_file(), "the bundled language model"
    assert asked[2] == "english-u2pp,fetched", "no model that the demo does not show"
    with demo.bundled_samples() as samples:
        assert samples
        for sample in samples:
            assert shown.count(f" s  {sample.id}  ") > 1, "partial results, a line for each change"
            assert f"said: {sample.text}" in shown
    assert "Streaming  WER " in shown
    assert "Offline    WER " in shown
    assert "Left out: no speaker models here. `chorus models pull campplus" in " ".join(shown.split())


def test_a_server_that_does_not_start_fails_the_demo_with_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('models/default: no encoder')"]
    monkeypatch.setattr(demo, "EmbeddedServer", lambda models, arguments: EmbeddedServer(command=broken))
    assert demo.main() == 1
    assert "models/default: no encoder" in capsys.readouterr().err


@pytest.mark.timeout(200)
def test_the_demo_runs_as_written_with_the_embedded_model(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "client.demo", "--no-fetch"],
        capture_output=True, text=True, cwd=tmp_path, timeout=190, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CHORUS_CACHE": str(tmp_path / "empty")},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "to the model english-u2pp" in result.stdout
    rates = [float(rate) for rate in re.findall(r"^(?:Streaming|Offline) +WER (\S+) %", result.stdout, re.MULTILINE)]
    assert len(rates) == 2
    assert max(rates) <= 25


@pytest.mark.slow
def test_the_demo_runs_as_a_user_runs_it_within_ten_seconds() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "client.demo", "--no-fetch"], cwd=ROOT, capture_output=True, text=True, timeout=10
    )
    assert result.returncode == 0, result.stdout + result.stderr


async def shown_by(address: str, tmp_path: Path, **options: Any) -> str:
    console = Console(record=True, width=100)
    await demo_speakers.show_speakers(console, address, picture=tmp_path / "who.png", **options)
    return " ".join(console.export_text().split())


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with tiny models of random weights for embedding and voice activity."""
    models = folder_of(tmp_path_factory.mktemp("speaking"), WESPEAKER, vad=True)
    with EmbeddedServer(models, arguments=["--gallery", ":memory:", "--threads", "1"]) as server:
        yield server.address


@pytest.mark.asyncio
async def test_voices_are_compared_and_the_dialogue_is_drawn_beside_the_truth(speaking: str, tmp_path: Path) -> None:
    shown = await shown_by(speaking, tmp_path, fetches=False)

    assert "ann and ann again: cosine" in shown
    assert "ann and ben:" in shown
    assert "dialogue.ogg, 23 s," in shown
    assert "really ann" in shown
    assert "really ben" in shown
    assert (tmp_path / "who.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.asyncio
async def test_models_that_were_fetched_are_shown_by_a_server_of_their_own(
    speaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Fetched:
        address = speaking

        def __init__(self, models: str) -> None:
            asked.append(models)

        def __enter__(self) -> "Fetched":
            return self

        def __exit__(self, *error: object) -> None:
            """Nothing to end."""

    async def none(address: str) -> bool:
        return False

    monkeypatch.setattr(demo_speakers, "_has_speakers", none)
    monkeypatch.setattr(demo_speakers, "fetch", lambda console: True)
    shown = await shown_by("nowhere:1", tmp_path, fetches=True, start=Fetched)

    assert asked == ["campplus,silero-vad,pyannote-segmentation"]
    assert "ann and ben:" in shown


@pytest.mark.asyncio
async def test_what_cannot_be_fetched_is_left_out_and_said(
    speaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(address: str) -> bool:
        return False

    fails = [sys.executable, "-c", "import sys; sys.exit('Error: no network')"]
    monkeypatch.setattr(demo_speakers, "_has_speakers", none)
    original = demo_speakers.fetch
    monkeypatch.setattr(demo_speakers, "fetch", lambda console: original(console, fails))
    shown = await shown_by(speaking, tmp_path, fetches=True)

    assert "They could not be fetched: Error: no network" in shown
    assert "Left out: no speaker models here." in shown
