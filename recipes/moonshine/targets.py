"""Speak sentences and keep, beside their features, what the teacher's encoder makes of them.

`python -m recipes.moonshine.targets --help`. A shard holds features (frames, 80), and for every encoder frame of ours
(40 ms, centred at 42.5 + 40 i ms) the teacher's stem and output interpolated to that time, all float16.
"""

import argparse
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from recipes.moonshine.teacher import Teacher, at_times
from recipes.synthesis.fbank import log_mel
from recipes.synthesis.recordings import load_16k, read_rows
from recipes.synthesis.shards import write_arrays
from recipes.synthesis.speak import VOICES, load_voice
from recipes.synthesis.texts import held_out_transcripts, shuffled, training_sentences
from recipes.synthesis.voices import finish

SUBSAMPLING, CONTEXT = 4, 7
FIRST_CENTRE_MS = 10.0 * (CONTEXT // 2) + 12.5


def teach(teacher: Teacher, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Features, stem and output of one utterance, as kept in a shard."""
    features = log_mel(samples)
    count = (len(features) - CONTEXT) // SUBSAMPLING + 1
    centres = FIRST_CENTRE_MS + 10.0 * SUBSAMPLING * torch.arange(count)
    with torch.no_grad():
        stem = teacher.stem(torch.from_numpy(samples)[None])
        output = teacher.layers(stem)
        parts = {"stem": at_times(stem, centres)[0], "output": at_times(output, centres)[0]}
    return {"features": features.astype(np.float16), **{k: v.numpy().astype(np.float16) for k, v in parts.items()}}


def write(path: Path, taught: list[dict[str, np.ndarray]], transcripts: list[str]) -> None:
    """One shard."""
    arrays = {name: np.concatenate([one[name] for one in taught]) for name in ("features", "stem", "output")}
    write_arrays(
        path,
        **arrays,
        lengths=np.array([len(one["features"]) for one in taught], np.int32),
        counts=np.array([len(one["stem"]) for one in taught], np.int32),
        transcripts=np.array(transcripts),
    )


def padded(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With 0.1 to 0.5 s of near silence at both ends."""
    ends = [random.normal(0, 3e-5, int(random.uniform(1600, 8000))).astype(np.float32) for _ in range(2)]
    return np.concatenate([ends[0], samples, ends[1]])


def spoken(arguments: argparse.Namespace) -> Iterator[tuple[str, list[np.ndarray], list[str]]]:
    """(shard name, utterances, transcripts) of a synthetic voice."""
    pool = training_sentences(arguments.texts, held_out_transcripts(arguments.held_out))
    order = shuffled(pool, f"{arguments.voice}-taught-{arguments.seed}")[: arguments.sentences]
    voice = load_voice(arguments.voice)
    starts = range(0, len(order), arguments.shard_size)
    for number in range(arguments.shard_first, len(starts), arguments.shard_step):
        name = f"{arguments.voice}-{arguments.seed}-{number:04d}"
        if (arguments.output / f"{name}.npz").exists():
            continue
        random = np.random.default_rng([arguments.seed, zlib.crc32(arguments.voice.encode()), number, 7])
        chosen = order[starts[number] : starts[number] + arguments.shard_size]
        yield (
            name,
            [padded(finish(voice.speak(s.spoken, random), random), random) for s in chosen],
            [s.transcript for s in chosen],
        )


def recorded(arguments: argparse.Namespace) -> Iterator[tuple[str, list[np.ndarray], list[str]]]:
    """(shard name, utterances, transcripts) of audio files; every 25th file is left out, as recordings.py does."""
    name = f"{arguments.voice}-taught"
    if (arguments.output / f"{name}.npz").exists():
        return
    random = np.random.default_rng(arguments.seed)
    rows = [row for index, row in enumerate(read_rows(arguments.tsv)) if index % 25]
    audio = [padded(load_16k(arguments.audio / f"{stem}.ogg"), random) for stem, _ in rows]
    yield name, audio, [transcript for _, transcript in rows]


def main() -> None:
    """Write the missing shards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voice", help=f"one of {', '.join(sorted(VOICES))}, or with --audio any name")
    parser.add_argument("--teacher", type=Path, required=True, help="Moonshine's encoder_model.onnx")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--tsv", type=Path)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--shard-size", type=int, default=200)
    parser.add_argument("--shard-first", type=int, default=0)
    parser.add_argument("--shard-step", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = Teacher(arguments.teacher)
    began = time.monotonic()
    for name, audio, transcripts in recorded(arguments) if arguments.audio else spoken(arguments):
        taught = [teach(teacher, samples) for samples in audio]
        write(arguments.output / f"{name}.npz", taught, transcripts)
        seconds = sum(map(len, audio)) / 16000
        print(f"{name}: {seconds:.0f} s of audio, {seconds / (time.monotonic() - began):.0f} x real time", flush=True)
        began = time.monotonic()


if __name__ == "__main__":
    main()
