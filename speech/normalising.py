"""How English text is spelled where it is scored and where models learn to write it. Nothing else decides this."""

import re
import unicodedata

_NOT_SPOKEN = re.compile(r"[^\w\s']|_")
_LONE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")
_APOSTROPHES = str.maketrans("\u2018\u2019", "''")


def normalise_text(text: str) -> str:
    """Bring English text to what is scored: upper case, no punctuation but apostrophes within words, single spaces.

    Transcripts of training data are spelled so too (recipes.synthesis.texts); nothing else is normalised unless a
    caller says so.
    """
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    text = _LONE_APOSTROPHE.sub(" ", _NOT_SPOKEN.sub(" ", text))
    return " ".join(text.upper().split())
