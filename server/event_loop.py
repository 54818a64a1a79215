"""The event loop the server runs on: uvloop, which costs less for every packet, or asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from server.errors import StartFailed

Choice = Literal["auto", "uvloop", "asyncio"]

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], choice: Choice) -> T:
    """Run `main` to its end, as `asyncio.run` does, on a loop of `choice`. Raises StartFailed where it is not there."""
    try:
        factory = loop_factory(choice)
    except StartFailed:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def loop_factory(choice: Choice) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop; "auto" takes uvloop where it can be imported: there are systems that it does not know.

    Raises StartFailed for "uvloop" where it cannot be.
    """
    if choice == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        if choice == "uvloop":
            raise StartFailed(f'event_loop is "uvloop", which cannot be imported: {error}') from error
        return asyncio.new_event_loop
    return uvloop.new_event_loop
