"""Which folders hold which kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from engines.kinds import ModelKind, kind_of_folder
from engines.pull.registry import registry
from engines.pull.store import ensure, installed
from server.config import Config
from server.errors import StartFailed
from server.models import embedded_models, find_models

EMBEDDED, FETCHED = "embedded", "fetched"
"""Names for the models that come with Chorus, and for those that were fetched before, among places of models."""
EMBEDDED_DEFAULT = "english-u2pp"
"""The embedded model that comes before the others, and so answers requests which name none."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Folders:
    """Model folders by kind; there is one voice activity and one segmentation model, or none."""

    recognisers: tuple[Path, ...]
    speakers: tuple[Path, ...]
    vad: Path | None
    segmentation: Path | None


def discover(config: Config) -> Folders:
    """Sort the folders that `config.models` stands for by looking inside.

    Fetches models that are named and not there yet. Raises StartFailed for places without models and for names that
    nobody knows, PullFailed.
    """
    kinds = [(kind_of_folder(folder), folder) for folder in _folders(config.models)]
    return Folders(
        recognisers=tuple(folder for kind, folder in kinds if kind == "recogniser"),
        speakers=tuple(folder for kind, folder in kinds if kind == "speaker"),
        vad=_one("vad", kinds),
        segmentation=_one("segmentation", kinds),
    )


def _folders(models: str | None) -> list[Path]:
    """Every model folder, each once: of the places and names given, or the embedded and the fetched ones."""
    places = f"{EMBEDDED},{FETCHED}" if models is None else models
    found = list(dict.fromkeys(folder for place in places.split(",") for folder in _folders_at(place.strip())))
    if not found:
        raise StartFailed(f"models {places!r}: none was fetched yet; `chorus models pull NAME` fetches one")
    return found


def _folders_at(place: str) -> list[Path]:
    """The model folders of one place: a folder comes before a name, so that nothing is fetched by mistake."""
    root = Path(place)
    if root.is_dir():
        return _models_at(root)
    if place == EMBEDDED:
        return sorted(_models_at(embedded_models()), key=lambda folder: folder.name != EMBEDDED_DEFAULT)
    if place == FETCHED:
        return list(filter(None, (installed(name) for name in registry())))
    if place in registry():
        return [ensure(place, log.info)]
    own = {folder.name: folder for folder in find_models(embedded_models())}
    return [own[place]] if place in own else _models_at(root)


def _models_at(root: Path) -> list[Path]:
    folders = find_models(root)
    if not folders:
        raise StartFailed(f"{root}: no model folder in it; `chorus models check {root}` says what was looked for")
    return folders


def _one(wanted: ModelKind, kinds: Sequence[tuple[ModelKind, Path]]) -> Path | None:
    """The first folder of a kind; the others are not used, which the log says."""
    found = [folder for kind, folder in kinds if kind == wanted]
    for unused in found[1:]:
        log.warning("model not used: one of its kind is enough", folder=str(unused), used=str(found[0]))
    return found[0] if found else None
