"""`run_load` in a process of its own, so that the client's work is not done by the server's interpreter."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence

from client.load import LoadOptions, LoadReport, run_load


def _work(options: LoadOptions, recordings: Sequence[bytes], results: multiprocessing.Queue[LoadReport]) -> None:
    results.put(asyncio.run(run_load(options, recordings)))


def run_in_child(options: LoadOptions, recordings: Sequence[bytes]) -> LoadReport:
    """Run one load to its end and return what its clients saw."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[LoadReport] = context.Queue()
    child = context.Process(target=_work, args=(options, list(recordings), results))
    child.start()
    report = results.get()
    child.join()
    return report
