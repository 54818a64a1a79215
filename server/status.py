"""The one table from our error classes to gRPC status codes, and the one place where a call's ending is decided."""

from __future__ import annotations

import grpc

from batcher.errors import BatcherClosed, BatchFailed, Overloaded, QueueTimeout, SlotsExhausted, StaleLease
from engines.errors import BadModel, EngineFailed, PullFailed, UnknownName
from server.errors import (
    BadConfig,
    BadRequest,
    IdleStream,
    NoSegmentation,
    NoVoiceActivity,
    OutOfOrder,
    ShuttingDown,
    StartFailed,
    TooManyStreams,
    UnknownModel,
)
from server.gallery.errors import (
    GalleryBusy,
    GalleryFailed,
    InconsistentVoices,
    NoGallery,
    UnknownSpeaker,
    WrongFingerprint,
)
from speech.errors import BadAudio, BadLanguageModel, BadOption, BadRttm, BadTokens

INTERNAL_TEXT = "internal error; the server's log has the details"

CODES: dict[type[Exception], grpc.StatusCode] = {
    BadAudio: grpc.StatusCode.INVALID_ARGUMENT,
    BadOption: grpc.StatusCode.INVALID_ARGUMENT,
    BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
    OutOfOrder: grpc.StatusCode.FAILED_PRECONDITION,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    UnknownName: grpc.StatusCode.NOT_FOUND,
    UnknownSpeaker: grpc.StatusCode.NOT_FOUND,
    WrongFingerprint: grpc.StatusCode.FAILED_PRECONDITION,
    InconsistentVoices: grpc.StatusCode.FAILED_PRECONDITION,
    NoSegmentation: grpc.StatusCode.FAILED_PRECONDITION,
    NoVoiceActivity: grpc.StatusCode.FAILED_PRECONDITION,
    NoGallery: grpc.StatusCode.FAILED_PRECONDITION,
    GalleryBusy: grpc.StatusCode.UNAVAILABLE,
    GalleryFailed: grpc.StatusCode.INTERNAL,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    SlotsExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyStreams: grpc.StatusCode.RESOURCE_EXHAUSTED,
    QueueTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    IdleStream: grpc.StatusCode.ABORTED,
    BatcherClosed: grpc.StatusCode.UNAVAILABLE,
    ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    BatchFailed: grpc.StatusCode.INTERNAL,
    StaleLease: grpc.StatusCode.INTERNAL,
    EngineFailed: grpc.StatusCode.INTERNAL,
    PullFailed: grpc.StatusCode.INTERNAL,
    BadModel: grpc.StatusCode.INTERNAL,
    BadRttm: grpc.StatusCode.INVALID_ARGUMENT,
    BadLanguageModel: grpc.StatusCode.INTERNAL,
    BadTokens: grpc.StatusCode.INTERNAL,
    BadConfig: grpc.StatusCode.INTERNAL,
    StartFailed: grpc.StatusCode.INTERNAL,
}


def ending(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Return the code and text a client sees for `error`.

    Messages of INTERNAL endings stay in the log: grpc.aio would otherwise send any exception's text as UNKNOWN.
    A failed batch ends as its cause does when the cause is the caller's own doing.
    """
    if isinstance(error, BatchFailed) and _code(error.__cause__) not in (None, grpc.StatusCode.INTERNAL):
        assert error.__cause__ is not None
        return ending(error.__cause__)
    code = _code(error) or grpc.StatusCode.INTERNAL
    return code, INTERNAL_TEXT if code is grpc.StatusCode.INTERNAL else str(error)


def _code(error: BaseException | None) -> grpc.StatusCode | None:
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), None)
