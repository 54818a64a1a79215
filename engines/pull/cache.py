"""Where fetched models lie, and how a half-fetched one never looks like a whole one."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from engines.errors import PullFailed
from engines.pull.registry import Entry

VARIABLE = "CHORUS_CACHE"


def cache_folder() -> Path:
    """Return the folder of fetched models: $CHORUS_CACHE, else the user's cache folder. It need not exist."""
    stated = os.environ.get(VARIABLE)
    root = Path(stated) if stated else platformdirs.user_cache_path("chorus", appauthor=False)
    return root / "models"


def folder_of(name: str, entry: Entry) -> Path:
    """Return where this revision of a model lies or would lie."""
    return cache_folder() / f"{name}-{entry.revision}"


@contextmanager
def filling(folder: Path) -> Iterator[Path | None]:
    """Yield an empty folder that takes the place of `folder` when the block ends without an error.

    Yields None where another process has filled `folder` meanwhile: one at a time is let in. What a process that was
    killed has left behind is removed. Raises PullFailed when the cache cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = (folder.parent / f".{folder.name}.lock").open("w")
    except OSError as error:
        raise PullFailed(
            f"{folder.parent} cannot be written ({error.strerror}); name another folder in {VARIABLE}"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
