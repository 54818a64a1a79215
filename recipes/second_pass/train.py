"""Teach Moonshine's decoder to read our encoder, and it to be read: `python -m recipes.second_pass.train --help`.

It begins with a U2++ checkpoint and Moonshine's decoder. At first the decoder learns alone, then everything: the second
pass from every batch beside CTC and its guesses, the U2++ model's own attention decoders from every other one. On every
n-th batch what the second pass reads is also pulled towards what the teacher's encoder gives for the whole utterance,
which keeps alive what encoder and decoder know of people. checkpoint.pt resumes; u2pp.pt and second_pass.pt are to
export: their weights lie `--keep` of the way back to where training together began, and the decoder's from there
`--theirs` of the way to Moonshine's own (Wortsman et al. 2022, https://arxiv.org/abs/2109.01903).
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.moonshine.train import LATER_CHUNKS, TaughtTrainer, lessons_parser
from recipes.second_pass.decoder import EOS_ID, SOS_ID, SecondDecoder
from recipes.second_pass.pieces import choose
from recipes.second_pass.weights import decoder_weights
from recipes.synthesis.texts import held_out_transcripts, training_sentences
from recipes.transducer.joint import part_way
from recipes.u2pp import train
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.data import Batch
from recipes.u2pp.loss import attention_loss, ctc_loss
from recipes.u2pp.model import Model
from speech.biasing.spelling import Speller
from speech.tokens import SPACE_MARK, TokenTable

_IGNORED = -100
_SMOOTHING = 0.05
_SCALES = {"second.reading.": 1.0, "second.": 0.4}


class TwoPass(Model):
    """A U2++ model with a second pass on its encoder."""

    def __init__(self, config: ModelConfig, second: SecondDecoder, dropout: float = 0.0) -> None:
        super().__init__(config, dropout)
        self.second = second


def written(ids: list[int], units: list[str]) -> str:
    """The words that ids write."""
    return "".join(units[index] for index in ids).replace(SPACE_MARK, " ").strip()


def second_loss(second: SecondDecoder, memory: Tensor, valid: Tensor, tokens: list[list[int]]) -> Tensor:
    """Label-smoothed cross entropy per token; memory has been read."""
    longest = max(map(len, tokens))
    inputs = [[SOS_ID, *row, *[EOS_ID] * (longest - len(row))] for row in tokens]
    targets = [[*row, EOS_ID, *[_IGNORED] * (longest - len(row))] for row in tokens]
    logits = second(torch.tensor(inputs, device=memory.device), memory, valid)
    wanted = torch.tensor(targets, device=memory.device)
    return functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=_IGNORED, label_smoothing=_SMOOTHING
    )


class SecondPassTrainer(TaughtTrainer):
    """recipes.moonshine.train's loop with a second pass."""

    taught_weight = 0.5
    begins_anew = False

    def __init__(self, arguments: Namespace) -> None:
        self._u2pp = load_model(arguments.u2pp)
        sentences = training_sentences(arguments.texts, held_out_transcripts(arguments.held_out))
        words = (word for sentence in sentences for word in sentence.transcript.split())
        self.pieces, kept = choose(arguments.tokenizer, words)
        self._theirs = {name: torch.from_numpy(value) for name, value in decoder_weights(arguments.decoder).items()}
        self._theirs["embedding.weight"] = self._theirs["embedding.weight"][kept]
        self._speller = Speller(TokenTable(self.pieces))
        super().__init__(arguments)
        self._units = self.tokens.units()

    def _configure(self) -> ModelConfig:
        return self._u2pp.config

    def _new_model(self, dropout: float = 0.0) -> nn.Module:
        return TwoPass(self.config, SecondDecoder.like(self._theirs, len(self.pieces)), dropout)

    def _groups(self) -> list[dict[str, object]]:
        second = [(name, p) for name, p in self.model.named_parameters() if name.startswith("second.")]
        groups = super()._groups()
        apart = {id(parameter) for _, parameter in second}
        for group in groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in apart]
        for prefix, scale in _SCALES.items():
            chosen = [p for name, p in second if (name.startswith("second.reading.")) == (prefix == "second.reading.")]
            groups.append({"params": chosen, "weight_decay": 0.0, "scale": scale, "head": False})
        return groups

    def _begin(self) -> None:
        self.model.load_state_dict(self._u2pp.state_dict() | self._second_state())

    def _second_state(self) -> dict[str, Tensor]:
        if self.arguments.second:
            self.model.second.load_state_dict(self._saved_second())
        else:
            self.model.second.take(self._theirs)
        return {f"second.{name}": value for name, value in self.model.second.state_dict().items()}

    def _saved_second(self) -> dict[str, Tensor]:
        saved = torch.load(self.arguments.second, map_location=self.device, weights_only=True)
        if saved["pieces"] != self.pieces:
            raise ValueError(f"{self.arguments.second} has other units than these texts and {self.arguments.tokenizer}")
        return saved["average"]

    def _step(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        alone = self.progress() < self.arguments.alone_until
        chunk, left = LATER_CHUNKS[self.state.step % len(LATER_CHUNKS)]
        lesson = self._lesson()
        batch = lesson.batch if lesson else batch
        with torch.set_grad_enabled(not alone):
            output, guesses, counts, valid = self._encode(batch, chunk, left)
        memory = self.model.second.reading(output)
        tokens = [self._speller.spell(written(row, self._units), "bpe") for row in batch.tokens]
        loss = second_loss(self.model.second, memory, valid, tokens)
        losses = {"second": loss.item()}
        if not alone:
            if not self.arguments.rank and not self._alone.exists():
                self._end_alone()
            ctc = ctc_loss(self.model.ctc(output), counts, batch.tokens)
            inner = self._guessing_loss(guesses, counts, batch)
            loss = loss + 0.4 * ctc + 0.2 * inner
            losses |= {"ctc": ctc.item(), "inner": inner.item()}
            if self.state.step % 2:
                attention = attention_loss(self.model, output, valid, batch.tokens)
                loss = loss + 0.3 * attention
                losses["attention"] = attention.item()
        return losses | self._descend_taught(loss, batch, memory, lesson)

    def _greedy(self, model: nn.Module, output: Tensor, counts: Tensor) -> list[str]:
        valid = torch.arange(output.shape[1], device=counts.device)[None] < counts[:, None]
        return [written(row, self.pieces) for row in model.second.greedy(model.second.reading(output), valid)]

    def _end_alone(self) -> None:
        """Keep what the second pass had learned alone: what is exported lies part of the way back to it."""
        train.write_checkpoint(self._alone, _second_of(self.average))

    @property
    def _alone(self) -> Path:
        return self.arguments.output / "alone.pt"

    def save(self) -> None:
        """As before, and both parts apart, to export."""
        super().save()
        names = self._u2pp.state_dict().keys()
        found, last = ({name: state[name] for name in names} for state in (self.average, self.model.state_dict()))
        kept = part_way(found, self._u2pp.state_dict(), self.arguments.keep)
        train.write_checkpoint(self.arguments.output / "u2pp.pt", self._sizes() | {"model": last, "average": kept})
        second = _second_of(self.average)
        if self._alone.exists():
            second = part_way(second, torch.load(self._alone, weights_only=True), self.arguments.keep)
        average = part_way(second, second | self._theirs, self.arguments.theirs)  # they have no reading
        values = {"pieces": self.pieces, "average": average}
        train.write_checkpoint(self.arguments.output / "second_pass.pt", values)


def _second_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The second pass's part of a state."""
    prefix = "second."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def parser() -> ArgumentParser:
    """Command line."""
    parser = lessons_parser()
    parser.add_argument("--u2pp", type=Path, required=True, help="u2pp.pt of recipes.transducer.joint")
    parser.add_argument("--decoder", type=Path, required=True, help="Moonshine's decoder_model_merged.onnx")
    parser.add_argument("--second", type=Path, help="second_pass.pt to go on with instead of Moonshine's decoder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="Moonshine's tokenizer.json")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--keep", type=float, default=0.3, help="share of the beginning in what is exported")
    parser.add_argument("--theirs", type=float, default=0.35, help="share of Moonshine's own decoder in it, besides")
    parser.add_argument(
        "--alone-until", type=float, default=0.15, help="share of the budget in which only the second pass learns"
    )
    return parser


def main() -> None:
    """Prepare and run."""
    train.run(SecondPassTrainer, parser().parse_args())


if __name__ == "__main__":
    main()
