"""Word error rate and greedy CTC text."""

from collections.abc import Iterable, Sequence


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Substitutions, deletions and insertions of the best alignment."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != found))
    return row[-1]


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Errors per reference word over (reference, hypothesis) pairs, in percent."""
    errors = words = 0
    for reference, hypothesis in pairs:
        errors += edit_distance(reference.split(), hypothesis.split())
        words += len(reference.split())
    return 100.0 * errors / max(1, words)


def greedy(ids: Iterable[int], units: Sequence[str]) -> str:
    """Collapse repeats, drop blanks, join pieces."""
    kept, previous = [], 0
    for token in ids:
        if token not in (0, previous):
            kept.append(token)
        previous = token
    return text_of(kept, units)


def text_of(ids: Iterable[int], units: Sequence[str]) -> str:
    """Pieces to text: the word mark becomes a space."""
    return "".join(units[token] for token in ids).replace("\u2581", " ").strip()
