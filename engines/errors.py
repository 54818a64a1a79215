"""What can go wrong below the server: a model folder that cannot work, and a graph that fails while it runs."""


class EngineError(Exception):
    """Base of all errors of this package."""


class BadModel(EngineError):
    """A model folder cannot be used; the message names the file, what is wrong and what would be right."""


class EngineFailed(EngineError):
    """A graph failed while it ran; the message names the graph and what the runtime said."""


class PullFailed(EngineError):
    """A model could not be fetched; the message says what was tried and what can be done."""


class UnknownName(EngineError):
    """No model of this name can be fetched."""
