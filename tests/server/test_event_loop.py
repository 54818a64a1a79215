"""The server runs on the loop that was asked for, and says so when it cannot."""

import asyncio
import sys

import pytest
import uvloop

from server.config import load_config
from server.errors import BadConfig, StartFailed
from server.event_loop import Choice, run


async def kind() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


@pytest.mark.parametrize(("choice", "expected"), [("auto", True), ("uvloop", True), ("asyncio", False)])
def test_the_loop_is_the_one_asked_for(choice: Choice, expected: bool) -> None:
    assert issubclass(run(kind(), choice), uvloop.Loop) is expected


def test_without_uvloop_asyncio_serves_unless_uvloop_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(kind(), "auto").__module__.startswith("asyncio.")
    with pytest.raises(StartFailed, match=r'event_loop is "uvloop", which cannot be imported'):
        run(kind(), "uvloop")


def test_the_setting_comes_from_anywhere_and_names_what_is_allowed() -> None:
    assert load_config(environment={}).event_loop == "auto"
    assert load_config(environment={"CHORUS_EVENT_LOOP": "asyncio"}).event_loop == "asyncio"
    assert load_config(environment={}, overrides={"event_loop": "uvloop"}).event_loop == "uvloop"
    with pytest.raises(BadConfig, match=r"environment: Invalid enum value 'trio'.*\$\.event_loop"):
        load_config(environment={"CHORUS_EVENT_LOOP": "trio"})
