import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from client.embedded import EmbeddedServer
from tests.server.speaker.support import WESPEAKER, folder_of, voice


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with a tiny speaker model and a gallery in memory, for all tests here."""
    models = folder_of(tmp_path_factory.mktemp("server"), WESPEAKER)
    handler = signal.getsignal(signal.SIGTERM)
    with EmbeddedServer(models, arguments=["--gallery", ":memory:", "--threads", "1"]) as server:
        signal.signal(signal.SIGTERM, handler)  # this server lives through other tests, which look at the handler
        yield server.address


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ann-1.wav, ann-2.wav, bob.flac and somebody.wav, who is Ann; and two that cannot be embedded."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, seed, seconds in (("ann-1.wav", 1, 2), ("ann-2.wav", 1, 3), ("bob.flac", 2, 2), ("somebody.wav", 1, 4)):
        soundfile.write(folder / name, voice(seconds, seed), 16000)
    soundfile.write(folder / "short.wav", voice(0.02, 1), 16000)
    (folder / "text.wav").write_text("no audio")
    return folder
