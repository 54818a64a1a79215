"""What can go wrong below the server: a model folder that cannot work, and a graph that fails while it runs."""


class EngineError(Exception):
    """Base of all errors of this package."""


class BadModel(EngineError):
    """A model folder cannot be used; the message names the file, what is wrong and what would be right."""


class EngineFailed(EngineError):
    """A graph failed while it ran; the message names the graph and what the runtime said."""
