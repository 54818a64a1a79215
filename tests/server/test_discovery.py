"""Which models a setting stands for: folders, names that are fetched, the embedded ones, those fetched before."""

from __future__ import annotations

from pathlib import Path

import pytest

from server import discovery
from server.config import load_config
from server.discovery import discover
from server.errors import StartFailed
from tests.server.support import DATA

MODELS = DATA / "models"
FETCHED = {"campplus": MODELS / "speaker-3dspeaker"}


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A store that has one model and notes which names it was asked to fetch."""
    asked: list[str] = []

    def ensure(name: str, report: object) -> Path:
        asked.append(name)
        return FETCHED[name]

    monkeypatch.setattr(discovery, "ensure", ensure)
    monkeypatch.setattr(discovery, "installed", FETCHED.get)
    return asked


def found(models: str | None) -> discovery.Folders:
    return discover(load_config(environment={}, overrides={"models": models}))


def test_without_a_setting_the_embedded_and_the_fetched_models_are_served_and_nothing_is_fetched(
    store: list[str],
) -> None:
    folders = found(None)
    assert [folder.name for folder in folders.recognisers] == ["english-u2pp", "english-transducer"]
    assert folders.speakers == (FETCHED["campplus"],)
    assert store == []


def test_names_and_folders_stand_side_by_side_and_names_are_fetched(store: list[str]) -> None:
    folders = found(f"campplus, {MODELS / 'w2'},embedded")
    assert folders.speakers == (FETCHED["campplus"],)
    assert [folder.name for folder in folders.recognisers] == ["w2", "english-u2pp", "english-transducer"]
    assert (folders.vad, folders.segmentation) == (None, None)
    assert store == ["campplus"]


def test_the_embedded_default_comes_before_embedded_models_earlier_in_the_alphabet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("arabic", "english-u2pp", "french"):
        (tmp_path / name).symlink_to(MODELS / "w2")
    monkeypatch.setattr(discovery, "embedded_models", lambda: tmp_path)
    assert [folder.name for folder in found(None).recognisers] == ["english-u2pp", "arabic", "french"]
    assert [folder.name for folder in found("french, arabic").recognisers] == ["french", "arabic"]
    assert [folder.name for folder in found(str(tmp_path)).recognisers] == ["arabic", "english-u2pp", "french"]


def test_an_embedded_model_goes_with_what_was_fetched_which_may_be_nothing(
    store: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = found("english-u2pp,fetched")
    assert [folder.name for folder in folders.recognisers] == ["english-u2pp"]
    assert folders.speakers == (FETCHED["campplus"],)
    monkeypatch.setattr(discovery, "installed", {}.get)
    assert found("english-u2pp,fetched").speakers == ()
    with pytest.raises(StartFailed, match="models 'fetched': none was fetched yet; `chorus models pull"):
        found("fetched")
    assert store == []


def test_a_folder_of_that_name_comes_first(store: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "campplus").symlink_to(MODELS / "speaker-wespeaker")
    monkeypatch.chdir(tmp_path)
    assert found("campplus").speakers == (Path("campplus"),)
    assert store == []


def test_what_is_neither_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"nobody: no such folder; .* or a name that `chorus models list` shows"):
        found("nobody")
    with pytest.raises(StartFailed, match="no model folder in it"):
        found(str(tmp_path))


def test_variables_of_the_store_are_no_settings() -> None:
    assert load_config(environment={"CHORUS_CACHE": "/x", "CHORUS_OFFLINE": "1"}) == load_config(environment={})
