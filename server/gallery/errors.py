"""What can be wrong with a gallery or with what is asked of it."""

from __future__ import annotations

from server.errors import ServerError


class UnknownSpeaker(ServerError):
    """Nobody of that id is enrolled in the gallery."""


class WrongFingerprint(ServerError):
    """A vector of one model or front end met a gallery, or a vector, of another; the message names both."""


class InconsistentVoices(ServerError):
    """The voices of an enrolment are less alike than the caller allows; nothing was stored."""


class GalleryBusy(ServerError):
    """Another process kept the file locked for longer than we wait."""


class GalleryFailed(ServerError):
    """The file cannot be read or written: permissions, a full disk, damage, or it is no gallery."""


class NoGallery(ServerError):
    """The server was told to keep no gallery."""
