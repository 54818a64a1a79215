"""Lists of hotwords as people write them: `phrase` or `phrase :boost` a line, as in sherpa-onnx's files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from speech.errors import BadOption

MAX_FILE_BYTES = 8 << 20
"""Far beyond any list that can help: 5,000 phrases are about 100 kB."""
MAX_PHRASE_CHARACTERS = 200
MAX_BOOST = 100.0
_BOOST = re.compile(r"(?P<phrase>.*?)\s+:\s*(?P<boost>[-+0-9.eE]+)")


@dataclass(frozen=True, slots=True)
class Hotword:
    """A phrase in natural spelling; `boost` is added for each of its tokens (natural log), None: the list's own."""

    phrase: str
    boost: float | None = None


def parse_hotwords(lines: Iterable[str], source: str = "the list") -> list[Hotword]:
    """Read one phrase a line; empty lines and lines that begin with # are left out.

    Raises BadOption naming `source` and the line for a boost that is no number above 0 up to MAX_BOOST and for a phrase
    longer than MAX_PHRASE_CHARACTERS.
    """
    hotwords = []
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix("\ufeff").strip()
        if not text or text.startswith("#"):
            continue
        match = _BOOST.fullmatch(text)
        phrase = match["phrase"] if match else text
        if not phrase or len(phrase) > MAX_PHRASE_CHARACTERS:
            raise BadOption(
                f"{source}, line {number}: a phrase of {len(phrase)} characters; allowed: 1 to {MAX_PHRASE_CHARACTERS}"
            )
        hotwords.append(Hotword(phrase, _boost(match["boost"], source, number) if match else None))
    return hotwords


def _boost(text: str, source: str, number: int) -> float:
    try:
        boost = float(text)
    except ValueError:
        boost = 0.0
    if not 0.0 < boost <= MAX_BOOST:
        raise BadOption(f"{source}, line {number}: the boost is {text}; allowed: above 0, up to {MAX_BOOST:g}")
    return boost
