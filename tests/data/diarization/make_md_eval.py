"""Writes md_eval.json: pairs of random RTTM files and what NIST's md-eval.pl (version 22) makes of them.

Run by hand where Debian's package sctk is installed: python make_md_eval.py /usr/lib/sctk/bin/md-eval.pl
"""

import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = [(collar, single) for collar in (0.0, 0.1, 0.25) for single in (False, True)]


def turns(rng: random.Random, file: str) -> list[tuple[str, float, float, str]]:
    rows, free = [], {}
    at = rng.uniform(0, 3)
    for _ in range(rng.randrange(2, 30)):
        speaker = f"spk{rng.randrange(rng.choice([1, 2, 4, 6]))}"
        begin = max(at + rng.uniform(-2.0, 1.5), free.get(speaker, 0.0), 0.0)
        length = rng.uniform(0.2, 6.0)
        rows.append((file, round(begin, 3), round(length, 3), speaker))
        at = begin + length
        free[speaker] = round(at, 3) + 0.002
    return rows


def guess(rng: random.Random, rows: list[tuple[str, float, float, str]]) -> list[tuple[str, float, float, str]]:
    """The truth with moved borders, lost and invented turns, and speakers mixed up; none overlaps itself."""
    made, free = [], {}
    for file, begin, length, speaker in rows:
        if rng.random() < 0.1:
            continue
        name = f"h{speaker}" if rng.random() < 0.8 else f"h{rng.randrange(7)}"
        begin = max(begin + rng.uniform(-0.5, 0.5), free.get(name, 0.0), 0.0)
        length = max(0.05, length + rng.uniform(-0.6, 0.6))
        made.append((file, round(begin, 3), round(length, 3), name))
        free[name] = round(begin + length, 3) + 0.002
    return made


def text(rows: list[tuple[str, float, float, str]]) -> str:
    return "".join(
        f"SPEAKER {file} 1 {begin:.3f} {length:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for file, begin, length, speaker in rows
    )


def md_eval(program: str, folder: Path, collar: float, single: bool) -> list[float]:
    """Scored, missed, false alarm and confused speaker seconds, and the rate in per cent."""
    command = [program, "-c", str(collar), *(["-1"] if single else []), "-r", folder / "ref", "-s", folder / "hyp"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    output = output[output.rindex("*** Performance analysis for Speaker Diarization for ALL") :]
    patterns = ["SCORED SPEAKER TIME", "MISSED SPEAKER TIME", "FALARM SPEAKER TIME", "SPEAKER ERROR TIME"]
    seconds = [float(re.search(rf"{pattern} *= *([\d.]+)", output)[1]) for pattern in patterns]
    return [*seconds, float(re.search(r"DIARIZATION ERROR = ([\d.]+)", output)[1])]


def main() -> None:
    rng, rows = random.Random(11), []
    for index in range(12):
        truth = [row for file in range(rng.choice([1, 1, 3])) for row in turns(rng, f"f{index}-{file}")]
        reference, hypothesis = text(truth), text(guess(rng, truth))
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "ref").write_text(reference)
            (Path(name) / "hyp").write_text(hypothesis)
            found = [[collar, single, md_eval(sys.argv[1], Path(name), collar, single)] for collar, single in CASES]
        rows.append({"reference": reference, "hypothesis": hypothesis, "found": found})
    text_of_rows = json.dumps(rows, separators=(",", ":")).replace('{"reference"', '\n{"reference"')
    Path(__file__).with_name("md_eval.json").write_text(text_of_rows + "\n")


main()
