"""Writes silero_regions.json: random probabilities and what silero-vad's own function makes of them.

Run by hand with an unpacked wheel of silero-vad 6.2.3 (MIT): python make_silero_regions.py UNPACKED/silero_vad
Its package imports torch; the one function that matters does not need it, so it is read out of the file.
"""

import ast
import json
import random
import sys
from pathlib import Path

CASES = [
    {},
    {"threshold": 0.36},
    {"threshold": 0.1},
    {"min_silence_duration_ms": 0, "speech_pad_ms": 100},
    {"min_speech_duration_ms": 0, "min_silence_duration_ms": 30, "speech_pad_ms": 50},
    {"max_speech_duration_s": 2.0},
    {"max_speech_duration_s": 1.0, "min_silence_duration_ms": 400},
    {"neg_threshold": 0.45, "min_silence_duration_ms": 64},
]


def own_function(package: Path):
    tree = ast.parse((package / "utils_vad.py").read_text())
    found = [node for node in tree.body if getattr(node, "name", "") == "get_speech_timestamps_from_probs"]
    space = {"List": list}  # its annotations use the name
    exec(compile(ast.Module(found, []), "utils_vad.py", "exec"), space)
    return space["get_speech_timestamps_from_probs"]


def wander(rng: random.Random, length: int) -> list[float]:
    values, level = [], 0.5
    for _ in range(length):
        level = min(1.0, max(0.0, level + rng.gauss(0.0, 0.18)))
        values.append(round(level, 3))
    return values


def main() -> None:
    function, rng, rows = own_function(Path(sys.argv[1])), random.Random(4), []
    for options in CASES:
        for length in (1, 7, 60, 400):
            probabilities = wander(rng, length)
            num_samples = length * 512 - rng.randrange(512)
            found = function(probabilities, audio_length_samples=num_samples, **options)
            regions = [[each["start"], each["end"]] for each in found]
            rows.append(
                {"options": options, "probabilities": probabilities, "num_samples": num_samples, "regions": regions}
            )
    text = json.dumps(rows, separators=(",", ":")).replace('{"options"', '\n{"options"')
    Path(__file__).with_name("silero_regions.json").write_text(text + "\n")


main()
