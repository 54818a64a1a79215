"""A bound on concurrent work that is not slots: each place taken is given back when its call ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import TooManyStreams


class Places:
    """Counts what is under way; shared by the services, on the event loop only."""

    def __init__(self, limit: int, what: str, setting: str) -> None:
        self._limit = limit
        self._what = what
        self._setting = setting
        self.num_taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place inside. Raises TooManyStreams naming the setting when all are taken."""
        if self.num_taken >= self._limit:
            raise TooManyStreams(f"all {self._limit} places for {self._what} are taken ({self._setting})")
        self.num_taken += 1
        try:
            yield
        finally:
            self.num_taken -= 1
