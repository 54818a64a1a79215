"""Which folders hold which kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from engines.kinds import ModelKind, kind_of_folder
from server.config import Config
from server.errors import StartFailed
from server.models import embedded_models, find_models

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Folders:
    """Model folders by kind; there is one voice activity and one segmentation model, or none."""

    recognisers: tuple[Path, ...]
    speakers: tuple[Path, ...]
    vad: Path | None
    segmentation: Path | None


def discover(config: Config) -> Folders:
    """Sort the folders of `config.models`, or the embedded ones, by looking inside. Raises StartFailed for none."""
    root = Path(config.models) if config.models else embedded_models()
    folders = find_models(root)
    if not folders:
        raise StartFailed(f"{root}: no model folder in it; `chorus models check {root}` says what was looked for")
    kinds = [(kind_of_folder(folder), folder) for folder in folders]
    return Folders(
        recognisers=tuple(folder for kind, folder in kinds if kind == "recogniser"),
        speakers=tuple(folder for kind, folder in kinds if kind == "speaker"),
        vad=_one("vad", kinds),
        segmentation=_one("segmentation", kinds),
    )


def _one(wanted: ModelKind, kinds: Sequence[tuple[ModelKind, Path]]) -> Path | None:
    """The first folder of a kind; the others are not used, which the log says."""
    found = [folder for kind, folder in kinds if kind == wanted]
    for unused in found[1:]:
        log.warning("model not used: one of its kind is enough", folder=str(unused), used=str(found[0]))
    return found[0] if found else None
