"""What every test shares: Hypothesis profiles, and skipping what this machine cannot run."""

import asyncio
import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from server.event_loop import loop_factory

# Shared machines stall: a deadline, or the check that examples are made quickly, would fail tests for their neighbours'
# load. pytest-timeout bounds them instead.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", PATIENT)
# The same examples in every run, so that a red CI run can be repeated; `print_blob` adds the line that repeats it.
settings.register_profile("ci", PATIENT, derandomize=True, database=None, print_blob=True)
settings.register_profile("thorough", PATIENT, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where no NVIDIA driver is installed."""
    if shutil.which("nvidia-smi"):
        return
    skip = pytest.mark.skip(reason="needs an NVIDIA accelerator; nvidia-smi was not found")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which event loop the asynchronous tests run on."""
    parser.addoption(
        "--event-loop", choices=["auto", "uvloop", "asyncio"], default="auto", help="as `chorus serve --event-loop`"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server's own loop for every asynchronous test; those marked with `loop_factories` run on each one named."""
    marker = item.get_closest_marker("asyncio")
    named = () if marker is None else marker.kwargs.get("loop_factories", ())
    choices = named or (config.getoption("--event-loop"),)
    return {choice: loop_factory(choice) for choice in choices}
