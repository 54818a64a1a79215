"""Train a streaming U2++ model from Moonshine's layers: `python -m recipes.moonshine.train --help`.

First our strided convolutions over log-mel features learn to give what the teacher's convolutions over samples give.
Then all is trained under chunk masks, with CTC, both attention decoders and, on every third batch, the distance of a
linear reading of the encoder's output to that of the teacher, which sees whole utterances: it keeps alive what the
layers know of people and leaves the output free to suit CTC.
"""

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.moonshine.lessons import LessonBatch, lesson_batches, read_lessons
from recipes.moonshine.weights import encoder_weights
from recipes.u2pp import train
from recipes.u2pp.config import BLANK_ID, ModelConfig
from recipes.u2pp.data import Batch
from recipes.u2pp.loss import attention_loss, ctc_loss, visibility_bias
from recipes.u2pp.transformer import take_weights

_CHUNKS = ((16, 5), (16, 5), (16, 5), (8, 10), (16, 5), (-1, -1), (16, 5), (16, 3), (-1, -1))
_LAST_CHUNKS = ((16, 5), (16, 5), (16, 5), (-1, -1), (16, 5), (16, 5), (8, 10), (16, 5))
LATER_CHUNKS = ((16, 5), (16, 5), (-1, -1), (16, 5), (16, 5), (8, 10), (16, 5), (-1, -1), (16, 5), (16, 3), (16, 5))
_LAST = 0.85  # share of the budget after which streaming as it is served has nearly all the attention
_HEAD_SCALE = 10.0  # of the learning rate while the head learns alone: the frames it reads have a deviation near 0.4


def masked_error(ours: Tensor, theirs: Tensor, counts: Tensor) -> Tensor:
    """Squared distance over valid frames as a share of the teacher's variance."""
    frames = min(ours.shape[1], theirs.shape[1])
    valid = (torch.arange(frames, device=counts.device)[None] < counts[:, None])[..., None]
    ours, theirs = ours[:, :frames], theirs[:, :frames]
    centred = (theirs - (theirs * valid).sum((0, 1)) / valid.sum()) * valid
    return ((ours - theirs) * valid).square().sum() / centred.square().sum()


class TaughtTrainer(train.Trainer):
    """recipes.u2pp.train's loop with a taught encoder."""

    taught_weight = 0.6

    def __init__(self, arguments: Namespace) -> None:
        self.lessons = read_lessons(arguments.lessons)
        super().__init__(arguments)
        random = np.random.default_rng([arguments.seed, self.state.step, 5, arguments.rank])
        frames = int(100 * arguments.batch_seconds * 0.8)
        self._reading = torch.nn.Linear(self.config.dim, self.config.dim, device=self.device)
        with torch.no_grad():
            self._reading.weight.copy_(torch.eye(self.config.dim))
            self._reading.bias.zero_()
        self._reader = torch.optim.AdamW(self._reading.parameters(), lr=1e-3, betas=(0.9, 0.98))
        self._hard_lessons = lesson_batches(self.lessons, self.tokens, frames, random, hard=True)

    def _configure(self) -> ModelConfig:
        return ModelConfig(
            vocabulary_size=len(self.tokens),
            encoder="transformer",
            subsampling=4,
            front_channels=(48, 96),
            front_hidden=512,
            dim=288,
            heads=8,
            feed_forward=1152,
            layers=6,
            kernel=8,
            decoder_feed_forward=768,
            decoder_layers=2,
            reverse_layers=1,
            chunk=16,
            conditioned=(3, 4, 5),
            left_chunks=5,
        )

    def _groups(self) -> list[dict[str, object]]:
        """Weights that know something already change more slowly."""
        groups = {}
        for name, parameter in self.model.named_parameters():
            scale = 1.0
            if name.startswith("encoder.subsampling"):
                scale = 0.4
            elif name.startswith("encoder.") and "convolution" not in name and "guesses" not in name:
                scale = self.arguments.body_scale
            decay = 0.01 if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay, name.startswith("ctc.")), []).append(parameter)
        return [{"params": p, "weight_decay": d, "scale": s, "head": h} for (s, d, h), p in groups.items()]

    def _begin(self) -> None:
        self._measure_statistics()
        weights = {k: torch.from_numpy(v) for k, v in encoder_weights(self.arguments.teacher).items()}
        take_weights(self.model.encoder, weights)
        self._teach_stem()
        with torch.no_grad():
            self.model.ctc.bias[BLANK_ID] = 4.0  # most frames are blank: that need not be learned

    def _teach_stem(self) -> None:
        """The convolutions alone, within their own minutes or steps."""
        front = self.model.encoder.subsampling
        optimiser = torch.optim.AdamW(front.parameters(), lr=2e-3, betas=(0.9, 0.98), foreach=True)
        random = np.random.default_rng(self.arguments.seed)
        began, budget = time.monotonic(), 60 * self.arguments.stem_minutes
        for number, lesson in enumerate(lesson_batches(self.lessons, self.tokens, 4000, random, hard=False)):
            steps = self.arguments.stem_steps
            done = number / steps if steps else (time.monotonic() - began) / budget
            if done >= 1:
                break
            lesson = lesson.to(self.device)
            error = masked_error(front(lesson.batch.features), lesson.stem, lesson.counts)
            optimiser.zero_grad(set_to_none=True)
            error.backward()
            optimiser.param_groups[0]["lr"] = 2e-3 * min(1.0, (number + 1) / 50) * (1.02 - done)
            optimiser.step()
            if number % 25 == 0:
                print(f"stem {number} {time.monotonic() - began:.0f} s error {error:.3f}", flush=True)
        print(f"stem {number} steps", flush=True)
        self.state.elapsed_s += time.monotonic() - began

    def _encode(self, batch: Batch, chunk: int, left: int) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Frames, logits of the guesses between layers, valid counts, valid mask."""
        encoder = self.model.encoder
        frozen = self.progress() >= self.arguments.freeze_from
        with torch.set_grad_enabled(not frozen):
            x = encoder.subsampling(batch.features)
        for layer in encoder.layers[: self.arguments.freeze_layers]:
            layer.requires_grad_(not frozen)
        bias, counts, valid = visibility_bias(batch.lengths, x.shape[1], self.config, chunk, left)
        output, _, guesses = encoder.guessing(x, bias)
        return output, guesses, counts, valid

    def _step(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        chunks = _CHUNKS if self.progress() < _LAST else _LAST_CHUNKS
        chunk, left = chunks[self.state.step % len(chunks)]
        early = self.progress() < self.arguments.head_until
        lesson = self._lesson(always=early)
        batch = lesson.batch if lesson else batch
        output, guesses, counts, valid = self._encode(batch, chunk, left)
        # A fresh head's gradients would wreck what the layers know: it first learns to read them as they are.
        ctc = ctc_loss(self.model.ctc(output.detach() if early else output), counts, batch.tokens)
        inner = self._guessing_loss(guesses, counts, batch)
        attention = torch.zeros((), device=self.device)
        if self.progress() >= self.arguments.attention_from:
            attention = attention_loss(self.model, output, valid, batch.tokens)
        for group in self.optimiser.param_groups:
            group["scale"] = (_HEAD_SCALE if early else 1.0) if group["head"] else group["scale"]
        loss = 0.7 * ctc + 0.5 * attention + (0.0 if early else 0.4) * inner
        losses = {"ctc": ctc.item(), "inner": inner.item(), "attention": attention.item()}
        return losses | self._descend_taught(loss, batch, self._reading(output), lesson)

    def _lesson(self, always: bool = False) -> LessonBatch | None:
        """What every n-th step learns from instead of its batch."""
        if always or self.state.step % self.arguments.lesson_every == 0:
            return next(self._hard_lessons).to(self.device)
        return None

    def _guessing_loss(self, guesses: list[Tensor], counts: Tensor, batch: Batch) -> Tensor:
        """Mean CTC loss of the guesses between layers; 0 where there are none."""
        nothing = torch.zeros((), device=self.device)
        return sum((ctc_loss(g, counts, batch.tokens) for g in guesses), nothing) / max(1, len(guesses))

    def _descend_taught(self, loss: Tensor, batch: Batch, read: Tensor, lesson: LessonBatch | None) -> dict[str, float]:
        """A step; in a lesson the distance of what was `read` to the teacher counts too, and is returned."""
        losses = {}
        if lesson is not None:
            taught = masked_error(read, lesson.output, lesson.counts)
            loss = loss + self.taught_weight * taught
            losses["taught"] = taught.item()
        self._descend(loss, batch)
        self._reader.step()
        self._reader.zero_grad(set_to_none=True)
        return losses


def lessons_parser() -> ArgumentParser:
    """Command line of whatever learns from lessons."""
    parser = train.parser()
    parser.add_argument("--lessons", type=Path, required=True, help="folder of recipes.moonshine.targets")
    parser.add_argument("--lesson-every", type=int, default=3, help="every n-th batch comes with the teacher's answers")
    parser.add_argument(
        "--freeze-from", type=float, default=1.0, help="share of the budget after which what hears is done"
    )
    parser.add_argument("--freeze-layers", type=int, default=2, help="layers that then stay as they are")
    parser.add_argument("--body-scale", type=float, default=0.2, help="learning rate of the taught layers, relative")
    return parser


def main() -> None:
    """Prepare and run."""
    parser = lessons_parser()
    parser.add_argument("--teacher", type=Path, required=True, help="Moonshine's encoder_model.onnx")
    parser.add_argument("--stem-minutes", type=float, default=4.0)
    parser.add_argument("--stem-steps", type=int, default=0, help="if given, instead of minutes")
    parser.add_argument(
        "--head-until", type=float, default=0.1, help="share of the budget in which CTC trains its head alone"
    )
    train.run(TaughtTrainer, parser.parse_args())


if __name__ == "__main__":
    main()
