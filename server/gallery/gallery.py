"""The gallery as the event loop sees it: one thread owns the file, and everything waits for it without blocking."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from server.gallery.errors import GalleryFailed, NoGallery
from server.gallery.schema import MEMORY
from server.gallery.store import GalleryStore

P = ParamSpec("P")
T = TypeVar("T")


def default_path() -> Path:
    """Where enrolled speakers are kept when no setting says otherwise: the user's data folder (XDG)."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "chorus" / "gallery.sqlite"


class Gallery:
    """Owned by the app; `close` ends its thread. The user's own file is opened, and made, when it is first needed."""

    def __init__(self, path: str | None) -> None:
        """`path`: a file, ":memory:", None for the user's own, or "" for no gallery at all.

        A file that was named is opened at once: the server's start is the place to say that it cannot be. Raises
        GalleryFailed, GalleryBusy.
        """
        self._path = path
        self._store = GalleryStore(self._file()) if path else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")

    async def call(self, method: Callable[Concatenate[GalleryStore, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of GalleryStore on the gallery's thread.

        A cancelled caller does not stop it: a write that has begun is then done, or undone, as a whole.
        Raises what the method raises; NoGallery, GalleryFailed, GalleryBusy.
        """
        if self._path == "":
            raise NoGallery("this server keeps no gallery (speaker.gallery is empty)")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(self._opened(), *args, **kwargs))

    def close(self) -> None:
        """Wait for what is running, then close the file."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> GalleryStore:
        if self._store is None:
            self._store = GalleryStore(self._file())
        return self._store

    def _file(self) -> Path | str:
        if self._path == MEMORY:
            return MEMORY
        path = Path(self._path).expanduser() if self._path else default_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalleryFailed(f"{path.parent}: cannot be made: {error.strerror}") from error
        return path
