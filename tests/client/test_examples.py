"""The code in the clients' docstrings, which the README repeats, run as it is written."""

import sys
import textwrap
from pathlib import Path

import pytest

import client.client
import client.sync
from tests.client.test_transcribe import FakeMicrophone


def example(docstring: str | None) -> str:
    """The indented part of a docstring."""
    assert docstring
    lines = [line for line in docstring.split("\n")[1:] if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(lines))


def test_the_asyncio_example_streams_a_file(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speech.wav").write_text("HELLO WORLD")
    monkeypatch.chdir(tmp_path)
    exec(example(client.client.__doc__).replace("127.0.0.1:8001", address), {"__name__": "example"})
    assert capsys.readouterr().out == "partial HELLO WORLD\nfinal   HELLO WORLD\n"


def test_the_sync_example_streams_the_microphone(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone())  # type: ignore[arg-type]
    code = example(client.sync.__doc__).replace("127.0.0.1:8001", address)
    # In the end somebody stops talking: the example itself records for ever.
    code = code.replace("microphone()", "itertools.islice(microphone(), 3)")
    exec("import itertools\n" + code, {"__name__": "example"})
    assert capsys.readouterr().out.splitlines()[-1] == "final   ONE TWO THREE"


def test_every_public_name_can_be_imported_and_no_other() -> None:
    assert all(getattr(client, name) is not None for name in client.__all__)
    assert dir(client) == sorted(client.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        _ = client.Server
