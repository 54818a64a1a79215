"""Audio for load tests: the bundled recordings, joined to utterances of any length."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from client.bench import linear16
from client.load import RATE


def recordings(seconds: float = 10.0, count: int = 8) -> list[bytes]:
    """`count` LINEAR16 recordings of `seconds`, each beginning at another place of the bundled demo speech."""
    folder = Path(str(files("models"))) / "demo"
    speech = b"".join(linear16(path) for path in sorted(folder.iterdir()) if path.suffix in (".flac", ".ogg", ".wav"))
    if not speech:
        raise SystemExit(f"no recordings in {folder}")
    size = int(seconds * RATE) * 2
    endless = speech * (2 + size * 2 // len(speech))
    return [endless[start : start + size] for start in range(0, count * 6400, 6400)]
