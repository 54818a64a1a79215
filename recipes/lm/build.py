"""Build a language model: `python -m recipes.lm.build --texts FILE --held-out dev.tsv --output lm.arpa.gz`.

Sentences are normalised as for the acoustic model; those of the held-out list, and any that contain one, are left out.
With `--pieces bpe.model --order 2 --min-counts 1 1` the n-grams are of a model's pieces: what `chorus serve --lodr`
takes. `--unknown` makes words outside the text rarer than their estimate, which shares what is left among words that
might be; what a recogniser spells wrongly is nearly always none.
"""

import argparse
import gzip
from pathlib import Path

from recipes.lm.kneser_ney import UNKNOWN, KneserNey
from recipes.synthesis.texts import held_out_transcripts, training_sentences


def sentences(texts: Path, held_out: Path) -> list[list[str]]:
    """Return the words of each sentence, in lower case."""
    left_out = held_out_transcripts(held_out)
    found = training_sentences(texts, left_out, min_words=1, max_words=100)
    transcripts = [f" {sentence.transcript} " for sentence in found]
    return [
        transcript.lower().split()
        for transcript in transcripts
        if not any(f" {each} " in transcript for each in left_out)
    ]


def in_pieces(found: list[list[str]], model: Path) -> list[list[str]]:
    """Spell the sentences in the pieces of a sentencepiece model, which is of capitals."""
    import sentencepiece  # needs recipes/requirements.txt, words do not

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [pieces.encode(" ".join(words).upper(), out_type=str) for words in found]


def main() -> None:
    """Read, count, smooth, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True, help="TSV whose last column is never used")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--pieces", type=Path, help="bpe.model: n-grams of its pieces instead of words")
    parser.add_argument("--min-counts", type=int, nargs="+", default=[1, 1, 2], help="n-grams seen less often go")
    parser.add_argument(
        "--unknown", type=float, help="log10 probability of any word that the text does not hold, not as estimated"
    )
    arguments = parser.parse_args()
    found = sentences(arguments.texts, arguments.held_out)
    if arguments.pieces:
        found = in_pieces(found, arguments.pieces)
    model = KneserNey(found, arguments.order, arguments.min_counts, has_fallback=arguments.pieces is not None)
    if arguments.unknown is not None:
        model.probs[0][(UNKNOWN,)] = 10.0**arguments.unknown
    # No time stamp: the same text gives the same file.
    with arguments.output.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.writelines(f"{line}\n".encode() for line in model.lines())
    counts = ", ".join(str(len(probs)) for probs in model.probs)
    print(f"{len(found)} sentences, n-grams by order: {counts}; {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
