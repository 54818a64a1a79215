"""Word pieces: `python -m recipes.u2pp.tokens --help` trains them; `Tokens` maps text to model ids."""

import argparse
from pathlib import Path

import sentencepiece

from recipes.synthesis.texts import held_out_transcripts, training_sentences

SPECIALS = ("<blank>", "<unk>", "<sos/eos>")
_SHIFT = len(SPECIALS) - 1  # SentencePiece has <unk> as piece 0, we have it as 1


class Tokens:
    """Ids are 0 blank, 1 unknown, 2 sos and eos, then the pieces."""

    def __init__(self, model: Path) -> None:
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def __len__(self) -> int:
        return self._pieces.vocab_size() + _SHIFT

    def encode(self, text: str, sample: bool = False) -> list[int]:
        """Ids of a transcript; `sample` draws another segmentation now and then."""
        ids = self._pieces.encode(text, enable_sampling=sample, alpha=0.2, nbest_size=-1)
        return [piece + _SHIFT if piece else 1 for piece in ids]

    def units(self) -> list[str]:
        """All units in id order, as units.txt lists them."""
        pieces = [self._pieces.id_to_piece(index) for index in range(1, self._pieces.vocab_size())]
        return [*SPECIALS, *pieces]


def main() -> None:
    """Train a unigram model on the training transcripts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="bpe.model to write")
    parser.add_argument("--units", type=int, default=320)
    arguments = parser.parse_args()
    sentences = training_sentences(arguments.texts, held_out_transcripts(arguments.held_out))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(sentence.transcript for sentence in sentences),
        model_prefix=str(arguments.output.with_suffix("")),
        vocab_size=arguments.units - _SHIFT,
        model_type="unigram",
        character_coverage=1.0,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=1,
    )


if __name__ == "__main__":
    main()
