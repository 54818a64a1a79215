"""Train both English models on, with one encoder: `python -m recipes.transducer.joint --help`.

It begins with a U2++ checkpoint's decoders and a transducer checkpoint's encoder and head, and has a schedule of its
own. CTC and its guesses between layers learn from every batch, the attention decoders and the transducer head by turns,
and every n-th batch keeps near the teacher, as in recipes.moonshine.train. Beside checkpoint.pt, to resume from, it
saves u2pp.pt and transducer.pt to export, whose weights lie `--keep` of the way back to where it began: what it learned
stays, and what it forgot of other voices comes back (Wortsman et al. 2022, https://arxiv.org/abs/2109.01903).
"""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.moonshine.train import LATER_CHUNKS, TaughtTrainer, lessons_parser
from recipes.transducer.checkpoint import Transducer, load_transducer
from recipes.transducer.config import HeadConfig
from recipes.transducer.head import Head
from recipes.transducer.loss import rnnt_loss
from recipes.transducer.train import spell
from recipes.u2pp import train
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.data import Batch
from recipes.u2pp.loss import attention_loss, ctc_loss
from recipes.u2pp.model import Model


class Joint(Model):
    """A U2++ model with a transducer head on the same encoder."""

    def __init__(self, config: ModelConfig, head: HeadConfig, dropout: float = 0.0) -> None:
        super().__init__(config, dropout)
        self.head = Head(head, config.dim)


def joined(u2pp: Model, transducer: Transducer) -> dict[str, Tensor]:
    """State of a Joint: the transducer's encoder, CTC layer and head, the U2++ model's decoders."""
    decoders = {name: value for name, value in u2pp.state_dict().items() if name.startswith("decoder.")}
    return transducer.state_dict() | decoders


def parted(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A Joint's state as that of a U2++ model and that of a transducer."""
    u2pp = {name: value for name, value in state.items() if not name.startswith("head.")}
    transducer = {name: value for name, value in state.items() if not name.startswith("decoder.")}
    return u2pp, transducer


def part_way(found: dict[str, Tensor], began: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights `share` of the way from what was found back to what it began with."""
    return {name: torch.lerp(value, began[name].to(value), share) for name, value in found.items()}


class JointTrainer(TaughtTrainer):
    """recipes.moonshine.train's loop with two kinds of heads."""

    taught_weight = 0.4
    begins_anew = False

    def __init__(self, arguments: Namespace) -> None:
        self._u2pp, self._transducer = load_model(arguments.u2pp), load_transducer(arguments.transducer)
        super().__init__(arguments)

    def _configure(self) -> ModelConfig:
        return self._u2pp.config

    def _head_config(self) -> HeadConfig:
        return self._transducer.head.config

    def _new_model(self, dropout: float = 0.0) -> nn.Module:
        return Joint(self.config, self._head_config(), dropout)

    def _begin(self) -> None:
        self.model.load_state_dict(joined(self._u2pp, self._transducer))

    def _step(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        step = self.state.step
        chunk, left = LATER_CHUNKS[step % len(LATER_CHUNKS)]
        lesson = self._lesson()
        batch = lesson.batch if lesson else batch
        output, guesses, counts, valid = self._encode(batch, chunk, left)
        ctc = ctc_loss(self.model.ctc(output), counts, batch.tokens)
        inner = self._guessing_loss(guesses, counts, batch)
        loss = 0.6 * ctc + 0.3 * inner
        losses = {"ctc": ctc.item(), "inner": inner.item()}
        if step % 2:
            transducer = rnnt_loss(self.model.head, output, counts, batch.tokens)
            loss = loss + transducer
            losses["transducer"] = transducer.item()
        else:
            attention = attention_loss(self.model, output, valid, batch.tokens)
            loss = loss + 0.5 * attention
            losses["attention"] = attention.item()
        return losses | self._descend_taught(loss, batch, self._reading(output), lesson)

    def _greedy(self, model: nn.Module, output: Tensor, counts: Tensor) -> list[str]:
        return spell(self.tokens, model.head, output, counts)

    def _sizes(self) -> dict[str, dict[str, object]]:
        return super()._sizes() | {"head": asdict(self._head_config())}

    def save(self) -> None:
        """As before, and both models apart."""
        super().save()
        names = ("u2pp.pt", "transducer.pt")
        kept = part_way(self.average, joined(self._u2pp, self._transducer), self.arguments.keep)
        for name, model, average in zip(names, parted(self.model.state_dict()), parted(kept), strict=True):
            train.write_checkpoint(self.arguments.output / name, self._sizes() | {"model": model, "average": average})


def parser() -> ArgumentParser:
    """Command line."""
    parser = lessons_parser()
    parser.add_argument("--u2pp", type=Path, required=True, help="checkpoint.pt of recipes.moonshine.train")
    parser.add_argument("--transducer", type=Path, required=True, help="checkpoint.pt of recipes.transducer.train")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the beginning in what is exported")
    return parser


def main() -> None:
    """Prepare and run."""
    train.run(JointTrainer, parser().parse_args())


if __name__ == "__main__":
    main()
