"""Train a streaming transducer within a wall-clock budget on a CPU: `python -m recipes.transducer.train --help`.

The encoder begins as a trained U2++ encoder (`--encoder`, a checkpoint of recipes.u2pp.train) or from nothing. With
a trained one the head learns alone for the first `--head-share` of the budget; the encoder's rate is a share of the
head's. Chunk masks are drawn as for U2++, so the model streams at every chunk size.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch

from recipes.transducer.checkpoint import load_transducer, new_transducer, save_transducer
from recipes.transducer.loss import rnnt_loss
from recipes.transducer.search import greedy_search
from recipes.u2pp.data import Batch, Corpus, draw, plain_batches, training_batches
from recipes.u2pp.loss import ctc_loss, encode
from recipes.u2pp.model import num_parameters
from recipes.u2pp.score import word_error_rate
from recipes.u2pp.tokens import Tokens

_CHUNKS = ((8, 8), (8, 8), (8, 4), (4, 8), (16, 4), (-1, -1))


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of shards")
    parser.add_argument("--tokens", type=Path, required=True, help="bpe.model")
    parser.add_argument("--encoder", type=Path, help="checkpoint.pt of recipes.u2pp.train to begin with")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint.pt, log.csv")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of the head")
    parser.add_argument("--encoder-rate", type=float, default=0.25, help="the encoder's share of the rate")
    parser.add_argument("--head-share", type=float, default=0.15, help="share of the budget with the encoder frozen")
    parser.add_argument("--ctc", type=float, default=0.3, help="weight of the CTC loss beside")
    parser.add_argument("--decoder-dim", type=int, default=192)
    parser.add_argument("--joiner-dim", type=int, default=192)
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--shares", default="hibari=0.6,kokoro=0.22,mix=0.13,espeak=0.02,flite=0.03")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Trainer:
    """Owns model, optimiser, moving average and files of one run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.tokens = Tokens(arguments.tokens)
        arguments.output.mkdir(parents=True, exist_ok=True)
        self.path = arguments.output / "checkpoint.pt"
        dims = (arguments.decoder_dim, arguments.joiner_dim)
        self.model = (
            load_transducer(self.path, "model")
            if self.path.exists()
            else new_transducer(arguments.encoder, len(self.tokens), *dims)
        )
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        groups = [
            {"params": list(self.model.head.parameters()) + list(self.model.ctc.parameters()), "share": 1.0},
            {"params": list(self.model.encoder.parameters()), "share": arguments.encoder_rate},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)
        self.corpus = Corpus(arguments.data)
        self.step, self.elapsed_s = 0, 0.0
        self.log: list[dict[str, float]] = []

    def progress(self) -> float:
        """Share of the budget used, 0 to 1."""
        return min(1.0, self.elapsed_s / (60 * self.arguments.minutes))

    def run(self) -> None:
        """Train until the budget is used; save and measure on the way."""
        self.corpus.refresh()
        held_out = self.corpus.sources.pop("heldout", [])
        print("parameters", num_parameters(self.model.encoder), num_parameters(self.model.head), flush=True)
        next_measure = 240.0
        for batch in self._batches():
            began = time.monotonic()
            losses = self._train(batch)
            self.elapsed_s += time.monotonic() - began
            if self.step % 20 == 0:
                self._report(losses)
            if self.elapsed_s > next_measure or self.progress() >= 1.0:
                next_measure += 360
                self.save()
                self._measure(held_out)
            if self.progress() >= 1.0:
                return

    def _batches(self):
        random = np.random.default_rng([self.arguments.seed, self.step])
        pairs = (item.split("=") for item in self.arguments.shares.split(","))
        shares = {name: float(share) for name, share in pairs}
        while True:
            began = time.monotonic()
            clean = self.arguments.encoder is None and self.step < 300
            pool = draw(self.corpus, shares, 1000 if clean else 4000, random)
            frames = int(100 * self.arguments.batch_seconds * (0.35 + 0.9 * self.progress()))
            for batch in training_batches(pool, self.tokens, frames, random, clean):
                self.elapsed_s += time.monotonic() - began
                yield batch
                began = time.monotonic()

    def _train(self, batch: Batch) -> dict[str, float]:
        self.model.train()
        frozen = self.arguments.encoder is not None and self.progress() < self.arguments.head_share
        chunk, left = _CHUNKS[self.step % len(_CHUNKS)]
        with torch.set_grad_enabled(not frozen):
            output, _, counts, _ = encode(self.model, batch.features, batch.lengths, chunk, left)
        transducer = rnnt_loss(self.model.head, output, counts, batch.tokens)
        ctc = ctc_loss(self.model.ctc(output), counts, batch.tokens)
        loss = transducer + self.arguments.ctc * ctc
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        warm = min(1.0, (self.step + 1) / 200)
        rate = self.arguments.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress())))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        if torch.isfinite(norm):
            self.optimiser.step()
        decay = min(0.998, (1 + self.step) / (20 + self.step))
        current = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[name] for name in self.average], 1 - decay)
        self.step += 1
        return {"transducer": transducer.item(), "ctc": ctc.item(), "norm": float(norm), "rate": rate}

    def _report(self, losses: dict[str, float]) -> None:
        row = {"step": self.step, "minutes": self.elapsed_s / 60} | losses
        self.log.append(row)
        print(" ".join(f"{name}={value:.4g}" for name, value in row.items()), flush=True)

    @torch.no_grad()
    def _measure(self, held_out: list) -> None:
        """Greedy streaming word error rate of the averaged weights on held-out utterances."""
        model = load_transducer(self.path, "average")
        units, pairs = self.tokens.units(), []
        for start, batch in enumerate(plain_batches(held_out, self.tokens)):
            output, _, counts, _ = encode(
                model, batch.features, batch.lengths, model.config.chunk, model.config.left_chunks
            )
            for row, ids in enumerate(greedy_search(model.head, output, counts)):
                text = "".join(units[token] for token in ids).replace("\u2581", " ").strip()
                pairs.append((held_out[16 * start + row].transcript, text))
        if pairs:
            rate = word_error_rate(pairs)
            self.log.append({"step": self.step, "minutes": self.elapsed_s / 60, "held_out_wer": rate})
            print(f"held-out WER {rate:.1f} %  e.g. {pairs[0]}", flush=True)

    def save(self) -> None:
        """Write checkpoint and log."""
        save_transducer(self.model, self.average, self.path)
        fields = ["step", "minutes", "rate", "transducer", "ctc", "norm", "held_out_wer"]
        with (self.arguments.output / "log.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fields)
            writer.writeheader()
            writer.writerows(self.log)


def main() -> None:
    """Prepare and run."""
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    Trainer(arguments).run()


if __name__ == "__main__":
    main()
