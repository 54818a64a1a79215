import subprocess
import sys
from pathlib import Path

import pytest

from client import demo
from client.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "models" / "w2"


def test_the_demo_shows_growing_texts_and_is_not_content_with_nonsense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has random weights: all of the demo runs, and its last word is that something is broken."""
    monkeypatch.setattr(demo, "EmbeddedServer", lambda: EmbeddedServer(TINY))
    monkeypatch.setattr(demo, "PACE", 40.0)
    assert demo.main() == 1
    shown = capsys.readouterr().out
    with demo.bundled_samples() as samples:
        assert samples
        for sample in samples:
            assert shown.count(f" s  {sample.id}  ") > 1, "partial results, a line for each change"
            assert f"said: {sample.text}" in shown
    assert "Streaming  WER " in shown
    assert "Offline    WER " in shown


def test_a_server_that_does_not_start_fails_the_demo_with_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('models/default: no encoder')"]
    monkeypatch.setattr(demo, "EmbeddedServer", lambda: EmbeddedServer(command=broken))
    assert demo.main() == 1
    assert "models/default: no encoder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_runs_as_a_user_runs_it_within_ten_seconds() -> None:
    result = subprocess.run([sys.executable, "-m", "client.demo"], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert result.returncode == 0, result.stdout + result.stderr
