"""One table from our error classes to gRPC codes: nothing of ours is missing, nothing of the inside leaks."""

import inspect
from types import ModuleType

import grpc
import pytest

import batcher.errors
import engines.errors
import server.errors
import server.gallery.errors
import speech.errors
from server.status import CODES, INTERNAL_TEXT, ending

MODULES = (speech.errors, batcher.errors, engines.errors, server.errors, server.gallery.errors)


def _errors(module: ModuleType) -> list[type[Exception]]:
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    return [kind for kind in kinds if not any(issubclass(other, kind) and other is not kind for other in kinds)]


@pytest.mark.parametrize("kind", [kind for module in MODULES for kind in _errors(module)])
def test_every_public_error_has_a_code(kind: type[Exception]) -> None:
    assert any(issubclass(kind, known) for known in CODES)


def test_an_unknown_exception_ends_internal_with_a_fixed_text() -> None:
    assert ending(ValueError("secret path /etc")) == (grpc.StatusCode.INTERNAL, INTERNAL_TEXT)


def test_a_failed_batch_ends_as_its_cause_when_that_is_the_callers_doing() -> None:
    failed = batcher.errors.BatchFailed(1, "run failed")
    failed.__cause__ = speech.errors.BadAudio("too long")
    assert ending(failed) == (grpc.StatusCode.INVALID_ARGUMENT, "too long")
    failed.__cause__ = ValueError("bug")
    assert ending(failed) == (grpc.StatusCode.INTERNAL, INTERNAL_TEXT)
