"""Which sentences may be spoken for training, and their transcripts: spelled as scoring spells them."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

from speech.normalising import normalise_text

# Anything else (digits, symbols, foreign letters) is said in a way that its spelling does not show.
_SPEAKABLE = re.compile(r"[A-Za-z'\u2018\u2019\s.,;:!?()\"\u201c\u201d\u2013\u2014-]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as written (for the voice) and as transcribed (capitals, apostrophes only)."""

    spoken: str
    transcript: str


def normalise(text: str) -> str | None:
    """Transcript spelling of `text`, or None if it holds digits, symbols or foreign letters."""
    return normalise_text(text) or None if _SPEAKABLE.fullmatch(text) else None


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
