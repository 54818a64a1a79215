"""Which sentences may be spoken for training, and their spelling as transcripts."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

_ALLOWED = re.compile(r"[A-Z' ]+")
_SEPARATORS = re.compile(r"[-\u2013\u2014.,;:!?\"()\u201c\u201d]+")
_QUOTE_EDGES = re.compile(r"(?<![A-Z])'|'(?![A-Z])")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as written (for the voice) and as transcribed (capitals, apostrophes only)."""

    spoken: str
    transcript: str


def normalise(text: str) -> str | None:
    """Transcript spelling of `text`, or None if it holds digits or foreign letters."""
    upper = _SEPARATORS.sub(" ", text.replace("\u2019", "'").replace("\u2018", "'").upper())
    upper = " ".join(_QUOTE_EDGES.sub(" ", upper).split())
    return upper if upper and _ALLOWED.fullmatch(upper) else None


def held_out_transcripts(dev_tsv: Path) -> set[str]:
    """Transcripts (last column) of a TSV that must never be trained on."""
    rows = dev_tsv.read_text(encoding="utf-8").splitlines()
    return {row.split("\t")[-1].strip() for row in rows if row.strip()}


def training_sentences(path: Path, held_out: set[str], min_words: int = 2, max_words: int = 14) -> list[Sentence]:
    """Unique speakable sentences of `path`, in file order, without the held-out ones."""
    seen = set(held_out)
    kept: list[Sentence] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        transcript = normalise(line)
        if transcript is None or transcript in seen or not min_words <= len(transcript.split()) <= max_words:
            continue
        seen.add(transcript)
        kept.append(Sentence(line.strip(), transcript))
    return kept


def shuffled(sentences: list[Sentence], seed: str) -> list[Sentence]:
    """A copy in an order that depends on `seed` only."""
    order = list(sentences)
    random.Random(seed).shuffle(order)
    return order
