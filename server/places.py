"""Bounds on concurrent work that are not slots: what a call takes is given back when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Memory:
    """Counts bytes that calls hold; on the event loop only."""

    def __init__(self, limit_mb: int, what: str, setting: str) -> None:
        self._limit_mb = limit_mb
        self._what = what
        self._setting = setting
        self.num_bytes = 0

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """Give the function that holds more bytes, until the end.

        It raises TooManyStreams, naming the setting, for what would be too much beside other calls' bytes: a call alone
        may hold any number.
        """
        own = 0

        def hold(num_bytes: int) -> None:
            nonlocal own
            others = self.num_bytes - own
            if others and self.num_bytes + num_bytes > self._limit_mb << 20:
                raise TooManyStreams(
                    f"{self._what}: others hold {others / (1 << 20):.1f} MB, this call would hold "
                    f"{(own + num_bytes) / (1 << 20):.1f}; allowed together: {self._limit_mb} ({self._setting})"
                )
            own += num_bytes
            self.num_bytes += num_bytes

        try:
            yield hold
        finally:
            self.num_bytes -= own
