"""What can go wrong at the server itself, named for what happened."""

from __future__ import annotations


class ServerError(Exception):
    """Base of the server's own errors; the message is for the client or for whoever starts the server."""


class BadConfig(ServerError):
    """A setting is wrong or unknown; the message names its path."""


class BadRequest(ServerError):
    """A request field is wrong; the message names the field, what came and what is allowed."""


class UnknownModel(ServerError):
    """No loaded model answers to the name or language asked for."""


class OutOfOrder(ServerError):
    """A message came where the protocol has none, such as audio before the configuration."""


class TooManyStreams(ServerError):
    """A bound on concurrent work other than the slots is reached; the message names it."""


class IdleStream(ServerError):
    """The client sent nothing for longer than the idle timeout."""


class ShuttingDown(ServerError):
    """The server ends, and has given the call the time that it gives."""


class NoVoiceActivity(ServerError):
    """Silence is to be found, and this server has no model for it."""


class NoSegmentation(ServerError):
    """Overlapping speech is to be found, and this server has no model for it."""


class StartFailed(ServerError):
    """The server cannot start: a port is taken, a model folder is bad."""


def first_cause(error: Exception) -> Exception:
    """The first error inside the groups that task groups raise."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
