"""Train a streaming transducer within a wall-clock budget on a CPU: `python -m recipes.transducer.train --help`.

With `--encoder`, a checkpoint of recipes.u2pp.train or recipes.moonshine.train, the transducer begins as what that
model's CTC layer says: the head learns alone for the first `--head-share` of the budget, then the encoder follows at
a share of the head's rate. Without, it begins from nothing. Chunk masks are drawn as for U2++, so the model streams.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from recipes.transducer.checkpoint import Transducer, from_u2pp
from recipes.transducer.config import HeadConfig
from recipes.transducer.head import Head
from recipes.transducer.loss import rnnt_loss
from recipes.transducer.search import greedy_search
from recipes.u2pp import train
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.data import Batch
from recipes.u2pp.loss import ctc_loss, encode
from recipes.u2pp.model import Model
from recipes.u2pp.tokens import Tokens


def spell(tokens: Tokens, head: Head, output: torch.Tensor, counts: torch.Tensor) -> list[str]:
    """Greedy texts of encoder frames (batch, frames, dim), of which `counts` are valid."""
    units, found = tokens.units(), greedy_search(head, output, counts)
    return ["".join(units[token] for token in ids).replace("\u2581", " ").strip() for ids in found]


class TransducerTrainer(train.Trainer):
    """recipes.u2pp.train's loop with a transducer head instead of decoders."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._trained: Model | None = load_model(arguments.encoder) if arguments.encoder else None
        super().__init__(arguments)
        chunk, left = self.config.chunk, self.config.left_chunks
        self._chunks = ((chunk, left), (chunk, left), (chunk // 2, 2 * left), (chunk, left), (-1, -1))

    def _configure(self) -> ModelConfig:
        return self._trained.config if self._trained else super()._configure()

    def _head_config(self) -> HeadConfig:
        return HeadConfig(
            vocabulary_size=len(self.tokens),
            context_size=self.arguments.context_size,
            decoder_dim=self.arguments.decoder_dim,
            joiner_dim=self.config.dim,
        )

    def _new_model(self, dropout: float = 0.0) -> nn.Module:
        return Transducer(self.config, self._head_config(), dropout)

    def _begin(self) -> None:
        if self._trained is None:
            super()._begin()
        else:
            self.model.load_state_dict(from_u2pp(self._trained, self._head_config()).state_dict())

    def _groups(self) -> list[dict[str, object]]:
        head = [*self.model.head.parameters(), *self.model.ctc.parameters()]
        return [
            {"params": head, "weight_decay": 0.01, "scale": 1.0},
            {"params": [*self.model.encoder.parameters()], "weight_decay": 0.01, "scale": self.arguments.encoder_rate},
        ]

    def _frozen(self) -> bool:
        return self._trained is not None and self.progress() < self.arguments.head_share

    def _step(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        chunk, left = self._chunks[self.state.step % len(self._chunks)]
        with torch.set_grad_enabled(not self._frozen()):
            output, _, counts, _ = encode(self.model, batch.features, batch.lengths, chunk, left)
        transducer = rnnt_loss(self.model.head, output, counts, batch.tokens)
        ctc = ctc_loss(self.model.ctc(output), counts, batch.tokens)
        self._descend(transducer + self.arguments.ctc * ctc, batch)
        return {"transducer": transducer.item(), "ctc": ctc.item()}

    def _greedy(self, model: nn.Module, output: torch.Tensor, counts: torch.Tensor) -> list[str]:
        return spell(self.tokens, model.head, output, counts)

    def _sizes(self) -> dict[str, dict[str, object]]:
        return super()._sizes() | {"head": asdict(self.model.head.config)}


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = train.parser()
    parser.add_argument("--encoder", type=Path, help="checkpoint.pt of a U2++ model to begin with")
    parser.add_argument("--encoder-rate", type=float, default=0.25, help="the encoder's share of the rate")
    parser.add_argument("--head-share", type=float, default=0.15, help="share of the budget with the encoder frozen")
    parser.add_argument("--ctc", type=float, default=0.3, help="weight of the CTC loss beside")
    parser.add_argument("--decoder-dim", type=int, default=256)
    parser.add_argument("--context-size", type=int, default=4, help="tokens the decoder remembers; icefall's has 2")
    return parser


def main() -> None:
    """Prepare and run."""
    train.run(TransducerTrainer, parser().parse_args())


if __name__ == "__main__":
    main()
