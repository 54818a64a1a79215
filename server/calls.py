"""How a call begins and ends, for every service: its status, its one log line, its numbers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from server.errors import first_cause
from server.gate import Gate
from server.metrics import Metrics
from server.status import ending

log = structlog.get_logger()


class Calls:
    """Wraps the handlers of all services; owned by the app."""

    def __init__(self, metrics: Metrics, gate: Gate) -> None:
        self._metrics = metrics
        self._gate = gate

    @asynccontextmanager
    async def call(self, method: str, context: Any) -> AsyncIterator[dict[str, Any]]:
        """Run one call inside; what it puts into the dict is logged, `audio_s` is counted too."""
        facts: dict[str, Any] = {"method": method, "peer": context.peer()}
        begin = time.monotonic()
        code, text = grpc.StatusCode.OK, ""
        self._metrics.call_started(method)
        try:
            with self._gate.running():
                yield facts
        except Exception as error:
            error = first_cause(error)
            code, text = ending(error)
            if code is grpc.StatusCode.INTERNAL:
                log.error("call failed", **facts, exc_info=error)
            await context.abort(code, text)
        except BaseException:  # cancelled, deadline: nobody is there to answer
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            seconds = time.monotonic() - begin
            self._metrics.call_ended(method, code.name, seconds, facts.get("audio_s", 0.0))
            log.info("call", **facts, status=code.name, error=text or None, seconds=round(seconds, 3))
