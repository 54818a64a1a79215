"""Long work on the event loop, cut into pieces of about a millisecond."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeVar

Piece = TypeVar("Piece")


async def one_by_one(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Draw all pieces, and let the loop serve others after each."""
    drawn = []
    for piece in pieces:
        drawn.append(piece)
        await asyncio.sleep(0)
    return tuple(drawn)
