"""Interpolated modified Kneser-Ney n-grams (Chen and Goodman 1998), in the form of Heafield et al. 2013 (lmplz).

Sentences are `<s> words </s>`. The highest order is counted as it stands; a lower n-gram counts the different words
before it, except that n-grams beginning with <s> keep their plain counts. Pruned n-grams count in every sum; what they
would have had goes to the back-off.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

START, END, UNKNOWN = "<s>", "</s>", "<unk>"

Gram = tuple[str, ...]
NEVER = -99.0
"""log10 of impossible, as ARPA writes it."""

FALLBACK = (0.0, 0.5, 1.0, 1.5)
"""lmplz's discounts for counts of 0, 1, 2, and 3 or more where the text gives none."""


class KneserNey:
    """A smoothed model: `probs[n]` and `backoffs[n]` of the n-grams of order n + 1 that were kept, as probabilities."""

    def __init__(
        self, sentences: Iterable[Sequence[str]], order: int, min_counts: Sequence[int], *, has_fallback: bool = False
    ) -> None:
        """Estimate from tokenised sentences. `min_counts[n]`: n-grams of order n + 1 with fewer occurrences go.

        Every order needs n-grams with (adjusted) counts of 1 to 3, from which its discounts are estimated. A few
        hundred pieces, all of them frequent, have none: `has_fallback` takes lmplz's `--discount_fallback` there.
        """
        plain = _plain_counts(sentences, order)
        adjusted = _adjusted(plain)
        self.discounts = [_discounts(counts, has_fallback) for counts in adjusted]
        self.probs: list[dict[Gram, float]] = []
        self.backoffs: list[dict[Gram, float]] = [{} for _ in range(order)]
        for n, counts in enumerate(adjusted):
            kept = {gram for gram in counts if plain[n][gram] >= min_counts[n] or n == 0}
            self._estimate(n, counts, kept)

    def prob(self, history: Gram, word: str) -> float:
        """Return p(word | history) by back-off, as any reader of the ARPA file would."""
        gram = (*history, word)
        if len(gram) <= len(self.probs) and gram in self.probs[len(gram) - 1]:
            return self.probs[len(gram) - 1][gram]
        if not history:
            return self.probs[0][(UNKNOWN,)]
        backoffs = self.backoffs[len(history) - 1] if len(history) < len(self.probs) else {}
        return backoffs.get(history, 1.0) * self.prob(history[1:], word)

    def lines(self) -> Iterable[str]:
        """Yield the ARPA file."""
        yield "\\data\\"
        for n, probs in enumerate(self.probs):
            yield f"ngram {n + 1}={len(probs)}"
        for n, probs in enumerate(self.probs):
            yield ""
            yield f"\\{n + 1}-grams:"
            for gram, prob in sorted(probs.items()):
                log = math.log10(prob) if prob > 0.0 else NEVER
                backoff = self.backoffs[n].get(gram)
                # A history in which nothing was seen or kept would only say 0.
                tail = "" if backoff is None or n + 1 == len(self.probs) else f"\t{math.log10(backoff):.5f}"
                yield f"{log:.5f}\t{' '.join(gram)}{tail}"
        yield ""
        yield "\\end\\"

    def _estimate(self, n: int, counts: Counter[Gram], kept: set[Gram]) -> None:
        """Fill order n + 1 from its counts and the order below, and the back-offs of its histories."""
        sums: defaultdict[Gram, float] = defaultdict(float)
        freed: defaultdict[Gram, float] = defaultdict(float)
        discounts = self.discounts[n]
        for gram, count in counts.items():
            sums[gram[:-1]] += count
            freed[gram[:-1]] += discounts[min(count, 3)] if gram in kept else count
        shares = {history: freed[history] / total for history, total in sums.items()}
        if n == 0:
            # The uniform distribution lies below: every word, </s> and <unk>, but not <s>, which nothing predicts.
            floor = shares[()] / (len(counts) + 1)
            total = sums[()]
            probs = {gram: (count - discounts[min(count, 3)]) / total + floor for gram, count in counts.items()}
            self.probs.append({**probs, (UNKNOWN,): floor, (START,): 0.0})
            return
        probs = {
            gram: (counts[gram] - discounts[min(counts[gram], 3)]) / sums[gram[:-1]]
            + shares[gram[:-1]] * self.prob(gram[1:-1], gram[-1])
            for gram in kept
        }
        self.backoffs[n - 1] = {history: share for history, share in shares.items() if history in self.probs[n - 1]}
        self.probs.append({gram: prob for gram, prob in probs.items() if gram[:-1] in self.probs[n - 1]})


def _plain_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = (START, *sentence, END)
        for n in range(order):
            counts[n].update(zip(*(words[k:] for k in range(n + 1)), strict=False))
    del counts[0][(START,)]
    return counts


def _adjusted(plain: list[Counter[Gram]]) -> list[Counter[Gram]]:
    adjusted = []
    for n, counts in enumerate(plain[:-1]):
        befores = Counter(gram[1:] for gram in plain[n + 1])
        adjusted.append(Counter({gram: count if gram[0] == START else befores[gram] for gram, count in counts.items()}))
    return [*adjusted, plain[-1]]


def _discounts(counts: Counter[Gram], has_fallback: bool) -> tuple[float, float, float, float]:
    """Return what is taken from counts of 0, 1, 2, and 3 or more."""
    t = Counter(count for count in counts.values() if count <= 4)
    if not all(t[k] for k in (1, 2, 3)):
        if has_fallback:
            return FALLBACK
        raise ValueError(f"too little text: n-grams seen once, twice, three times: {t[1]}, {t[2]}, {t[3]}")
    y = t[1] / (t[1] + 2 * t[2])
    one, two, three = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return 0.0, one, two, three
