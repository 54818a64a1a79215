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

EMBEDDED = "embedded"
"""The name of the models that come with Chorus, among places of models."""

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
    if models is None:
        return [*find_models(embedded_models()), *filter(None, (installed(name) for name in registry()))]
    found = [folder for place in models.split(",") for folder in _folders_at(place.strip())]
    return list(dict.fromkeys(found))


def _folders_at(place: str) -> list[Path]:
    """The model folders of one place: a folder comes before a name, so that nothing is fetched by mistake."""
    root = Path(place)
    if place == EMBEDDED and not root.is_dir():
        root = embedded_models()
    elif place in registry() and not root.is_dir():
        return [ensure(place, log.info)]
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
