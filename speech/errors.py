"""What can be wrong with data given to `speech`. Messages carry names and numbers: what was got, what is allowed."""


class SpeechError(Exception):
    """Base of everything `speech` raises on purpose."""


class BadAudio(SpeechError):
    """The audio is not what it was said to be, or cannot be used: format, rate, damaged data, non-finite samples."""


class AudioTooShort(BadAudio):
    """There is audio, but less than one result needs; the message says how much would do."""


class BadOption(SpeechError):
    """An option given by the caller is unknown or out of range."""


class BadTokens(SpeechError):
    """A token table is malformed; the message names the line or the missing token."""


class BadLanguageModel(SpeechError):
    """A language model is malformed, or does not fit the tokens it is to score; the message names line or words."""


class BadRttm(SpeechError):
    """A line of an RTTM file is malformed; the message names file and line."""
