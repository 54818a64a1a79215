"""Train within a wall-clock budget, on a GPU if there is one: `python -m recipes.u2pp.train --help`.

The learning rate follows elapsed time divided by `--minutes`, so the schedule always ends when the budget does;
elapsed time is kept in the checkpoint, and a resumed run continues it. With `--steps` instead a run that is not broken
off is repeatable: on CPUs equal seeds give equal weights. No GPU has run this yet.
"""

import argparse
import csv
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipes.synthesis.shards import Utterance
from recipes.u2pp import processes
from recipes.u2pp.bootstrap import Aligned, bootstrap
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.data import Batch, Corpus, Share, draw, plain_batches, training_batches
from recipes.u2pp.loss import attention_loss, ctc_loss, encode
from recipes.u2pp.model import Model, num_parameters
from recipes.u2pp.score import greedy, word_error_rate
from recipes.u2pp.tokens import Tokens

_CHUNKS = ((8, 8), (8, 8), (8, 8), (8, 4), (4, 8), (16, 4), (-1, -1), (-1, -1))


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of shards; new ones are picked up while training"
    )
    parser.add_argument("--tokens", type=Path, required=True, help="bpe.model")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint.pt, log.csv")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=0, help="if given, the budget instead of minutes")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--attention-from", type=float, default=0.3, help="share of the budget trained with CTC alone")
    parser.add_argument("--aligned", type=Path, help="folder of recipes.synthesis.aligned: teaches phones first")
    parser.add_argument("--aligned-minutes", type=float, default=4.0)
    parser.add_argument("--clean-steps", type=int, default=300, help="steps without distortion")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--shares", default="hibari=0.6,kokoro=0.22,mix=0.13,espeak=0.02,flite=0.03")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", help="cpu or cuda; by default cuda where there is one")
    parser.add_argument(
        "--world", type=int, default=1, help="processes that share their gradients; one thread each is best"
    )
    parser.add_argument("--rank", type=int, default=0, help="which of them this is; 0 saves and measures")
    return parser


@dataclass(slots=True)
class State:
    """What a checkpoint holds beside weights."""

    step: int = 0
    elapsed_s: float = 0.0
    audio_s: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Owns model, optimiser, moving average and files of one run."""

    begins_anew = True

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = device_of(arguments)
        self.tokens = Tokens(arguments.tokens)
        self.config = self._configure()
        self.model = self._new_model(arguments.dropout).to(self.device)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=1e-4, betas=(0.9, 0.98), foreach=True)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.state = State()
        self.corpus = Corpus(arguments.data)
        self.held_out: list[Utterance] = []
        arguments.output.mkdir(parents=True, exist_ok=True)

    def _configure(self) -> ModelConfig:
        return ModelConfig(vocabulary_size=len(self.tokens))

    def _new_model(self, dropout: float = 0.0) -> nn.Module:
        """What is trained: it has an `encoder`."""
        return Model(self.config, dropout)

    def _groups(self) -> list[dict[str, object]]:
        """Parameter groups; each one's `scale` multiplies the learning rate."""
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        return [
            {"params": matrices, "weight_decay": 0.01, "scale": 1.0},
            {"params": vectors, "weight_decay": 0.0, "scale": 1.0},
        ]

    @property
    def _checkpoint(self) -> Path:
        return self.arguments.output / "checkpoint.pt"

    def prepare(self) -> None:
        """Load data, measure its mean and deviation or resume."""
        self.corpus.refresh()
        self.held_out = self.corpus.sources.pop("heldout", [])
        print("hours", {k: round(v, 2) for k, v in self.corpus.hours().items()}, "held out", len(self.held_out))
        print("parameters", {name: num_parameters(part) for name, part in self.model.named_children()}, flush=True)
        if self._checkpoint.exists():
            self._resume()
        else:
            self._begin()
            processes.take_first(self.model.state_dict().values(), self.arguments.world)
            self.average = {name: value.clone() for name, value in self.model.state_dict().items()}

    def _begin(self) -> None:
        """What happens once, before the first step."""
        self._measure_statistics()
        if self.arguments.aligned:
            aligned = Aligned(self.arguments.aligned)
            bootstrap(self.model, aligned, self.arguments.aligned_minutes, self.arguments.seed)

    def _measure_statistics(self) -> None:
        pool = draw(self.corpus, self._shares(), 800, np.random.default_rng(self.arguments.seed))
        frames = np.concatenate([np.maximum(u.features.astype(np.float32), 0.0) for u in pool])
        front = self.model.encoder.subsampling
        front.mean.copy_(torch.from_numpy(frames.mean(0)))
        front.inverse_deviation.copy_(torch.from_numpy(1.0 / frames.std(0)))

    def _shares(self) -> dict[str, float]:
        pairs = (item.split("=") for item in self.arguments.shares.split(","))
        return {name: float(share) for name, share in pairs}

    def progress(self) -> float:
        """Share of the budget used, 0 to 1."""
        if self.arguments.steps:
            return self.state.step / self.arguments.steps
        return self.state.elapsed_s / (60 * self.arguments.minutes)

    def _rate(self) -> float:
        """Linear warm-up over 250 steps, then a cosine to 1 % of the peak."""
        done = self.progress()
        warm = min(1.0, (self.state.step + 1) / 250)
        return self.arguments.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def run(self) -> None:
        """Train until the budget is used; the first process checkpoints and measures on the way."""
        if self.progress() >= 1.0:
            return
        self._next_save, self._next_measure = self.state.elapsed_s + 120, self.state.elapsed_s + 240
        losses: dict[str, float] = {}
        for batch in self._endless_batches():
            self._agree()
            began = time.monotonic()
            losses = self._step(batch)
            self.state.elapsed_s += time.monotonic() - began
            self._agree()
            if not self.arguments.rank:
                self._report(losses)
            if self.progress() >= 1.0:
                break
        if not self.arguments.rank:
            self._finish(losses)

    def _finish(self, losses: dict[str, float]) -> None:
        """Save at once, for measuring takes a while; the log ends with the last step's losses and error rate."""
        logged = [row["step"] for row in self.state.log if "rate" in row]
        if logged[-1:] != [self.state.step]:
            self._log(losses)
        self.save()
        self._measure()
        self._write_log()

    def _report(self, losses: dict[str, float]) -> None:
        if self.state.step % 20 == 0:
            self._log(losses)
        if self.state.elapsed_s > self._next_save:
            self._next_save += 120
            self.save()
        if self.state.elapsed_s > self._next_measure:
            self._next_measure += 360
            self._measure()

    def _agree(self) -> None:
        """All processes follow the clock of the first."""
        self.state.elapsed_s = processes.first_clock(self.state.elapsed_s, self.arguments.world)

    def _endless_batches(self):
        """Batches; the time to make them counts as elapsed."""
        seed, step, rank = self.arguments.seed, self.state.step, self.arguments.rank
        random = np.random.default_rng([seed, step, rank])
        share = Share(np.random.default_rng([seed, step, 7]), rank, self.arguments.world)
        while True:
            began = time.monotonic()
            self.corpus.refresh()
            self.corpus.sources.pop("heldout", None)
            clean = self.state.step < self.arguments.clean_steps
            pool = draw(self.corpus, self._shares(), share.world * (1000 if clean else 4000), share.order)
            for batch in training_batches(pool, self.tokens, self._batch_frames(), random, share, clean):
                batch = batch.to(self.device)
                self.state.elapsed_s += time.monotonic() - began
                yield batch
                began = time.monotonic()

    def _batch_frames(self) -> int:
        """Small batches (many updates) first, larger ones later, unless it begins with what can do something."""
        growth = 0.35 + 0.9 * min(1.0, self.progress()) if self.begins_anew else 1.0
        return int(100 * self.arguments.batch_seconds * growth)

    def _step(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        chunk, left = _CHUNKS[(self.state.step * 5) % len(_CHUNKS)]
        tap = self.config.layers // 2
        output, tapped, counts, valid = encode(self.model, batch.features, batch.lengths, chunk, left, tap)
        logits = self.model.ctc(output)
        ctc = ctc_loss(logits, counts, batch.tokens)
        inner = ctc_loss(self.model.ctc(tapped), counts, batch.tokens)
        attention = torch.zeros((), device=self.device)
        if self.progress() >= self.arguments.attention_from:
            attention = attention_loss(self.model, output, valid, batch.tokens)
        self._descend(0.7 * ctc + 0.3 * inner + 0.7 * attention, batch)
        return {"ctc": ctc.item(), "inner": inner.item(), "attention": attention.item()}

    def _descend(self, loss: torch.Tensor, batch: Batch) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        processes.share_gradients(self.model.parameters(), self.arguments.world)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate() * group.get("scale", 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self._update_average()
        self.state.step += 1
        self.state.audio_s += self.arguments.world * float(batch.lengths.sum()) / 100

    def _update_average(self) -> None:
        decay = min(0.998, (1 + self.state.step) / (20 + self.state.step))
        current = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[name] for name in self.average], 1 - decay)

    def _log(self, losses: dict[str, float]) -> None:
        row = {"step": self.state.step, "minutes": self.state.elapsed_s / 60, "hours": self.state.audio_s / 3600}
        row |= {"rate": self._rate()} | losses
        self.state.log.append(row)
        print(" ".join(f"{name}={value:.4g}" for name, value in row.items()), flush=True)

    @torch.no_grad()
    def _measure(self) -> None:
        """Greedy streaming WER of the averaged weights on held-out utterances."""
        began = time.monotonic()
        with torch.random.fork_rng():  # measuring, which follows the clock, must not change what is drawn next
            model = self._new_model().to(self.device)
        model.load_state_dict(self.average)
        model.eval()
        heard: list[str] = []
        for batch in plain_batches(self.held_out, self.tokens):
            batch = batch.to(self.device)
            output, _, counts, _ = encode(
                model, batch.features, batch.lengths, self.config.chunk, self.config.left_chunks
            )
            heard.extend(self._greedy(model, output, counts))
        pairs = list(zip((u.transcript for u in self.held_out), heard, strict=True))
        if pairs:
            rate = word_error_rate(pairs)
            self.state.log.append({"step": self.state.step, "minutes": self.state.elapsed_s / 60, "held_out_wer": rate})
            print(f"held-out WER {rate:.1f} %  e.g. {pairs[-1]}", flush=True)
        self.state.elapsed_s += time.monotonic() - began

    def _greedy(self, model: nn.Module, output: torch.Tensor, counts: torch.Tensor) -> list[str]:
        """Texts of encoder frames (batch, frames, dim), of which `counts` are valid."""
        best = model.ctc(output).argmax(-1)
        units = self.tokens.units()
        return [greedy(ids[:count], units) for ids, count in zip(best.tolist(), counts.tolist(), strict=True)]

    def _sizes(self) -> dict[str, dict[str, object]]:
        """What, beside weights, a checkpoint must tell for the model to be made again."""
        return {"config": self.config.as_dict()}

    def save(self) -> None:
        """Write checkpoint and log atomically."""
        values = self._sizes() | {"model": self.model.state_dict(), "average": self.average}
        values |= {"optimiser": self.optimiser.state_dict(), "step": self.state.step, "log": self.state.log}
        values |= {"elapsed_s": self.state.elapsed_s, "audio_s": self.state.audio_s}
        write_checkpoint(self._checkpoint, values)
        self._write_log()

    def _write_log(self) -> None:
        fields = list(dict.fromkeys(name for row in self.state.log for name in row))
        with (self.arguments.output / "log.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fields)
            writer.writeheader()
            writer.writerows(self.state.log)

    def _resume(self) -> None:
        saved = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average = saved["average"]
        scales = [group["scale"] for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(saved["optimiser"])
        for group, scale in zip(self.optimiser.param_groups, scales, strict=True):
            group["scale"] = scale  # the command line's, which may have changed
        self.state = State(saved["step"], saved["elapsed_s"], saved["audio_s"], saved["log"])
        print(f"resumed at step {self.state.step}", flush=True)


def write_checkpoint(path: Path, values: dict[str, object]) -> None:
    """Write a file whose name appears only when it is complete."""
    partial = path.with_suffix(".partial")
    torch.save(values, partial)
    partial.rename(path)


def device_of(arguments: argparse.Namespace) -> torch.device:
    """The device asked for, else the GPU that belongs to this process, else the CPU."""
    if arguments.device:
        return torch.device(arguments.device)
    if torch.cuda.is_available():
        return torch.device("cuda", arguments.rank % torch.cuda.device_count())
    return torch.device("cpu")


def run(kind: type[Trainer], arguments: argparse.Namespace) -> Trainer:
    """Train with one kind of trainer and give it back."""
    torch.manual_seed(arguments.seed + arguments.rank)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    processes.meet(arguments.output, arguments.world, arguments.rank)
    trainer = kind(arguments)
    trainer.prepare()
    trainer.run()
    return trainer


def main() -> None:
    """Prepare and run."""
    run(Trainer, parser().parse_args())


if __name__ == "__main__":
    main()
