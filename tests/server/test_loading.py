"""Models are loaded side by side; what is wrong with one ends the start with its error, and leaves no thread."""

from __future__ import annotations

import shutil
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engines.errors import BadModel
from server import loading
from server.errors import StartFailed
from server.loading import load_served
from tests.server.speaker.support import WESPEAKER
from tests.server.support import DATA, tiny_config

MODELS = DATA / "models"


def add(root: Path, model: str, *names: str) -> None:
    """Put copies of a tiny model into `root` that all call themselves by the first of `names`."""
    for name in names:
        folder = shutil.copytree(MODELS / model, root / name)
        file = folder / "model.toml"
        lines = file.read_text().splitlines() if file.exists() else []
        rest = [line for line in lines if not line.startswith("name")]
        file.write_text("\n".join([f'name = "{names[0]}"', *rest]))


def failed(root: Path, **settings: Any) -> str:
    """The error of a start that fails. Nothing may run on after it."""
    before = set(threading.enumerate())
    with ExitStack() as stack, pytest.raises((BadModel, StartFailed)) as error:
        load_served(tiny_config(root, **settings), stack)
    assert not set(threading.enumerate()) - before
    return str(error.value)


def test_the_error_of_either_kind_of_model_is_told_and_that_of_the_recognisers_first(tmp_path: Path) -> None:
    speakers, both, recognisers = tmp_path / "speakers", tmp_path / "both", tmp_path / "recognisers"
    add(speakers, WESPEAKER, "voice", "voice-again")
    add(speakers, "w2", "words")
    assert "a second speaker model named 'voice'" in failed(speakers)
    add(both, WESPEAKER, "voice", "voice-again")
    add(both, "w2", "words", "words-again")
    assert "a second model named 'words'" in failed(both)
    add(recognisers, WESPEAKER, "voice")
    add(recognisers, "w2", "words", "words-again")
    assert "a second model named 'words'" in failed(recognisers)


def test_models_that_were_loaded_before_the_error_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines' threads are started, as calls would start them, before the speaker models turn out to be wrong."""
    is_loaded = threading.Event()
    load_models = loading.load_models

    def load_and_run(*arguments: Any) -> Any:
        models = load_models(*arguments)
        lane, lease = models.default.lanes.lease()  # type: ignore[union-attr]
        lane.give_back(lease)
        is_loaded.set()
        return models

    def wrong(*arguments: Any) -> Any:
        assert is_loaded.wait(60)
        assert any(thread.name.startswith("w2-steps") for thread in threading.enumerate())
        raise BadModel("wrong, but late")

    monkeypatch.setattr(loading, "load_models", load_and_run)
    monkeypatch.setattr(loading, "load_speakers", wrong)
    assert failed(MODELS / "w2") == "wrong, but late"


def test_a_wrong_language_model_is_told_by_the_models_that_cannot_use_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.arpa"
    broken.write_text("\\data\\\nngram 1=many\n")
    assert "lm: no model can use it; w2: " in (error := failed(MODELS / "w2", lm=str(broken)))
    assert "'ngram 1=many'" in error
    assert "nowhere.arpa: cannot be read" in failed(MODELS / "w2", lm="/nowhere.arpa")


def test_a_bad_folder_is_told_although_a_language_model_is_still_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "w2", "words")
    (tmp_path / "words" / "units.txt").unlink()
    monkeypatch.setattr(loading, "read_lm", lambda path: threading.Event().wait(0.2))
    assert "units.txt" in failed(tmp_path, lm="words.arpa")
