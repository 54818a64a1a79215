"""How wrong a transcript is: word and character errors against a reference. Alignment is jiwer's."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import jiwer

Unit = Literal["word", "character"]


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Errors of one or more utterances, in words or characters; counts of several add up."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference unit; for an empty reference 0 when nothing was said, infinite otherwise."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )


@dataclass(frozen=True, slots=True)
class PairScore:
    """One utterance: its counts, and an alignment to read in a fixed-width font (REF, HYP and a line of S, D, I)."""

    counts: ErrorCounts
    alignment: str


@dataclass(frozen=True, slots=True)
class Scores:
    """All utterances, in the order given, and their sum: rates are over the whole, not means of rates."""

    total: ErrorCounts
    pairs: tuple[PairScore, ...]


def score_pair(reference: str, hypothesis: str, unit: Unit = "word") -> PairScore:
    """Align two texts, as they are, by words (white space) or by characters other than white space."""
    aligned = jiwer.process_words([_units(reference, unit)], [_units(hypothesis, unit)])
    counts = ErrorCounts(
        substitutions=aligned.substitutions,
        deletions=aligned.deletions,
        insertions=aligned.insertions,
        reference_length=aligned.hits + aligned.substitutions + aligned.deletions,
    )
    text = jiwer.visualize_alignment(aligned, show_measures=False)
    return PairScore(counts, "\n".join(line.rstrip() for line in text.splitlines()[2:] if line.strip()))


def score_pairs(pairs: Iterable[tuple[str, str]], unit: Unit = "word") -> Scores:
    """Score (reference, hypothesis) pairs and add up their counts."""
    scored = tuple(score_pair(reference, hypothesis, unit) for reference, hypothesis in pairs)
    total = functools.reduce(ErrorCounts.__add__, (pair.counts for pair in scored), ErrorCounts())
    return Scores(total, scored)


def _units(text: str, unit: Unit) -> str:
    words = text.split()
    return " ".join(words if unit == "word" else "".join(words))
