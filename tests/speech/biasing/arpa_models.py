"""Random ARPA models, and their scores by the definition alone: dictionaries and recursion over histories."""

import math

LN10 = math.log(10)


def random_arpa(rng, words, order=3, with_unknown=True):
    """Text of a model over `words` in which every n-gram's beginning is listed and some n-grams' ends are not."""
    unigrams = ["<unk>"] * with_unknown + ["<s>", "</s>", *words]
    levels = [[(word,) for word in unigrams]]
    for _ in range(order - 1):
        starts = [gram for gram in levels[-1] if gram[-1] not in ("</s>", "<unk>")]
        chosen = {
            (*starts[rng.integers(len(starts))], unigrams[rng.integers(2 if with_unknown else 1, len(unigrams))])
            for _ in range(3 * len(words))
        }
        levels.append(sorted(chosen))
    lines = ["made by a test", "\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(levels, 1)), ""]
    for n, grams in enumerate(levels, 1):
        lines.append(f"\\{n}-grams:")
        for gram in grams:
            log10 = -99 if gram == ("<s>",) else round(-rng.uniform(0.05, 4), 5)
            backoff = f"\t{-rng.uniform(0, 1):.5f}" if n < order and rng.random() < 0.8 else ""
            lines.append(f"{log10}\t{' '.join(gram)}{backoff}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


class Oracle:
    """log p(word | history) as Katz's back-off defines it."""

    def __init__(self, text):
        self.probs, self.backoffs, self.order = {}, {}, 0
        for line in text.splitlines():
            fields = line.split("\t")
            if len(fields) < 2:
                continue
            gram = tuple(fields[1].split())
            self.order = max(self.order, len(gram))
            self.probs[gram] = float(fields[0])
            self.backoffs[gram] = float(fields[2]) if len(fields) > 2 else 0.0

    def log10(self, history, word):
        history = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        if (*history, word) in self.probs:
            return self.probs[(*history, word)]
        if not history:
            return self.probs.get(("<unk>",), -100.0)
        return self.backoffs.get(history, 0.0) + self.log10(history[1:], word)

    def sentence(self, words, end=True):
        """Natural log of each word, then of </s>."""
        history, logs = ["<s>"], []
        for word in [*words, "</s>"] if end else words:
            known = word if (word,) in self.probs else "<unk>"
            logs.append(self.log10(history, known) * LN10)
            history.append(known)
        return logs
