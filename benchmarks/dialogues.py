"""Builds conversations of several voices, some talking at once, from recordings of single utterances.

    python -m benchmarks.dialogues UTTERANCES.tsv OUT [--voices even|odd|all] [--seed 4]

The list has lines `id<TAB>voice<TAB>...`, and `ogg`, `flac` or `wav` files lie in a folder of its name without the
suffix. Writes 16 kHz FLAC files and the truth, one RTTM for each and `all.rttm`. The truth is where an utterance is
above -40 dB of its loudest 10 ms, first to last; pauses inside count as speech.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

from speech.audio import Encoding
from speech.containers import decode
from speech.diarization.turns import Turn
from speech.resample import Resampler
from speech.rttm import RttmTurn, write_rttm

RATE = 16000
SPEAKERS = (2, 2, 3, 3, 4, 4, 5, 6)
# What is measured: no overlap, some, and much, as the chance that a turn begins before the last one ends.
OVERLAPS = {"apart": 0.0, "some": 0.3, "much": 0.7}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Samples (n,) float32 at 16 kHz, and who really spoke when."""

    name: str
    samples: np.ndarray
    turns: list[Turn]


def read_voices(table: Path) -> dict[str, list[np.ndarray]]:
    """Every voice's utterances, trimmed to speech."""
    voices: dict[str, list[np.ndarray]] = defaultdict(list)
    folder = table.with_suffix("")
    for line in table.read_text(encoding="utf-8").splitlines():
        key, voice = line.split("\t")[:2]
        path = next(path for suffix in ("ogg", "flac", "wav") if (path := folder / f"{key}.{suffix}").exists())
        voices[voice].append(trimmed(load(path)))
    return dict(voices)


def load(path: Path) -> np.ndarray:
    """A recording's first channel at 16 kHz."""
    parts, resampler = [], None
    with path.open("rb") as file:
        for block in decode(file, Encoding.AUTO):
            resampler = resampler or Resampler(block.sample_rate, RATE, 1)
            parts.append(resampler.push(block.samples[:1]))
    assert resampler is not None, f"{path} has audio"
    return np.concatenate([*parts, resampler.flush()], axis=1)[0]


def trimmed(samples: np.ndarray) -> np.ndarray:
    """From the first to the last 10 ms above -40 dB of the loudest."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = np.flatnonzero((power := (frames**2).mean(axis=1)) > 1e-4 * power.max())
    return samples[loud[0] * 160 : (loud[-1] + 1) * 160]


def build(name: str, voices: dict[str, list[np.ndarray]], overlap: float, rng: np.random.Generator) -> Dialogue:
    """Every utterance of every voice once; a voice talks one to three utterances at a time."""
    waiting = {voice: list(rng.permutation(len(utterances))) for voice, utterances in voices.items()}
    level = {voice: 10 ** (rng.uniform(-6, 6) / 20) for voice in voices}
    numbers = {voice: index for index, voice in enumerate(voices)}
    placed: list[tuple[int, np.ndarray, int]] = []
    end, last, free = round(0.5 * RATE), "", dict.fromkeys(voices, 0)
    while any(waiting.values()):
        others = [voice for voice in voices if waiting[voice] and voice != last] or [last]
        voice = str(rng.choice(others))
        starts_early = last and voice != last and rng.random() < overlap
        gap_s = -rng.uniform(0.3, 1.5) if starts_early else rng.uniform(0.1, 0.9)
        for _ in range(rng.integers(1, 4)):
            if not waiting[voice]:
                break
            samples = voices[voice][waiting[voice].pop()] * level[voice]
            begin = max(round(end + gap_s * RATE), free[voice], 0)
            placed.append((begin, samples, numbers[voice]))
            free[voice] = begin + len(samples)
            end = max(end, free[voice])
            gap_s = rng.uniform(0.1, 0.5)
        last = voice
    samples = rng.normal(0.0, 1e-4, end + RATE // 2).astype(np.float32)
    for begin, spoken, _ in placed:
        samples[begin : begin + len(spoken)] += spoken
    turns = [Turn(begin / RATE, (begin + len(spoken)) / RATE, speaker) for begin, spoken, speaker in placed]
    return Dialogue(name, samples / max(1.0, float(np.abs(samples).max())), sorted(turns, key=lambda t: t.begin_s))


def build_all(voices: dict[str, list[np.ndarray]], seed: int) -> list[Dialogue]:
    """Eight conversations of two to six voices for each amount of overlap."""
    rng = np.random.default_rng(seed)
    made = []
    for kind, overlap in OVERLAPS.items():
        for index, count in enumerate(SPEAKERS):
            chosen = sorted(rng.choice(sorted(voices), min(count, len(voices)), replace=False))
            name = f"{kind}-{index}-{len(chosen)}voices"
            made.append(build(name, {str(voice): voices[str(voice)] for voice in chosen}, overlap, rng))
    return made


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--voices", "which", type=click.Choice(["all", "even", "odd"]), default="all", show_default=True)
@click.option("--seed", default=4, show_default=True)
def main(table: Path, out: Path, which: str, seed: int) -> None:
    """Write the conversations and their truth."""
    voices = read_voices(table)
    names = sorted(voices)
    if which != "all":
        names = names[which == "odd" :: 2]
    out.mkdir(parents=True, exist_ok=True)
    everything: list[RttmTurn] = []
    for dialogue in build_all({name: voices[name] for name in names}, seed):
        soundfile.write(out / f"{dialogue.name}.flac", dialogue.samples, RATE, subtype="PCM_16")
        truth = [
            RttmTurn(dialogue.name, turn.begin_s, turn.duration_s, f"voice{turn.speaker}") for turn in dialogue.turns
        ]
        (out / f"{dialogue.name}.rttm").write_text(write_rttm(truth), encoding="utf-8")
        everything += truth
    (out / "all.rttm").write_text(write_rttm(everything), encoding="utf-8")
    print(f"{len(SPEAKERS) * len(OVERLAPS)} conversations of {len(names)} voices in {out}")


if __name__ == "__main__":
    main()
