"""Transcripts against references, by utterance id. The counting is `speech/scoring.py`'s."""

from collections.abc import Mapping
from dataclasses import dataclass

from speech.normalising import normalise_text
from speech.scoring import ErrorCounts, PairScore, Scores, score_pairs


@dataclass(frozen=True, slots=True)
class Comparison:
    """`scores.pairs` belong to `ids`; `missing` ids have no transcript, `extra` ones no reference."""

    ids: tuple[str, ...]
    scores: Scores
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    measure: str

    @property
    def pairs(self) -> dict[str, PairScore]:
        return dict(zip(self.ids, self.scores.pairs, strict=True))

    def summary(self) -> str:
        """One line, as Kaldi's compute-wer prints it."""
        total = self.scores.total
        return f"{self.measure} {100 * total.rate:.2f} % {counts_text(total)}"


def counts_text(counts: ErrorCounts) -> str:
    """The counts in Kaldi's brackets."""
    return (
        f"[ {counts.errors} / {counts.reference_length}, {counts.substitutions} sub, "
        f"{counts.deletions} del, {counts.insertions} ins ]"
    )


def compare(
    references: Mapping[str, str],
    transcripts: Mapping[str, str],
    *,
    by_character: bool = False,
    normalise: bool = False,
    ignore_missing: bool = False,
) -> Comparison:
    """Score each reference; one without a transcript counts as wholly deleted, unless `ignore_missing`."""
    missing = tuple(key for key in references if key not in transcripts)
    ids = tuple(key for key in references if key in transcripts or not ignore_missing)
    texts = [(references[key], transcripts.get(key, "")) for key in ids]
    if normalise:
        texts = [(normalise_text(reference), normalise_text(text)) for reference, text in texts]
    return Comparison(
        ids=ids,
        scores=score_pairs(texts, "character" if by_character else "word"),
        missing=missing,
        extra=tuple(key for key in transcripts if key not in references),
        measure="CER" if by_character else "WER",
    )
