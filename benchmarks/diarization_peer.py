"""Who tells speakers apart better, sherpa-onnx's program or we, with the same models on the same files, in turn?

    pip install sherpa-onnx sherpa-onnx-bin      (the program needs LD_LIBRARY_PATH at the first one's folder lib)
    python -m benchmarks.dialogues UTTERANCES.tsv DIALOGUES --voices odd
    python -m benchmarks.diarization_peer DIALOGUES --models MODELS --only '*-[024]-*'

Each finds the number of speakers by itself, sherpa-onnx by its default cluster threshold 0.5; with `--known` both are
told. Speed is in processor seconds of one thread; those of sherpa-onnx include loading its models.
"""

from __future__ import annotations

import re
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec
import soundfile

from benchmarks.diarization import RATE, Pipeline, load
from engines.kinds import kind_of_folder
from speech.diarization.der import DiarizationErrors, score_diarization, total
from speech.diarization.options import CHORUS
from speech.rttm import RttmTurn, read_rttm

COLLARS = (0.25, 0.0)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(slots=True)
class Score:
    """One system's errors over all files by collar, files with a wrong number of speakers, and processor seconds."""

    errors: dict[float, DiarizationErrors] = field(default_factory=lambda: defaultdict(DiarizationErrors))
    wrong: int = 0
    cpu_s: float = 0.0

    def add(self, truth: list[RttmTurn], found: list[RttmTurn], cpu_s: float) -> float:
        """Count one file and return its error rate at the first collar."""
        rates = []
        for collar in COLLARS:
            scored = total(score_diarization(truth, found, collar_s=collar))
            self.errors[collar] += scored
            rates.append(scored.rate)
        self.wrong += len({turn.speaker for turn in found}) != len({turn.speaker for turn in truth})
        self.cpu_s += cpu_s
        return rates[0]


class Sherpa:
    """The program, with our folders' graphs."""

    def __init__(self, program: str, models: Path) -> None:
        folders = {kind_of_folder(folder): folder for folder in sorted(models.iterdir()) if folder.is_dir()}
        graphs = {kind: next(folder.glob("*.onnx")) for kind, folder in folders.items()}
        self._command = [
            program,
            f"--segmentation.pyannote-model={graphs['segmentation']}",
            f"--embedding.model={graphs['speaker']}",
        ]

    def run(self, truth: list[RttmTurn], path: Path, num_speakers: int) -> tuple[list[RttmTurn], float]:
        """Turns and processor seconds; `num_speakers` 0 leaves their number to the program."""
        number = f"num-clusters={num_speakers}" if num_speakers else "cluster-threshold=0.5"
        with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
            soundfile.write(wave.name, load(path), RATE, subtype="PCM_16")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [*self._command, f"--clustering.{number}", wave.name]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return parsed(truth[0].file, output), spent


def parsed(name: str, text: str) -> list[RttmTurn]:
    """Lines such as `0.318 -- 6.865 speaker_00`."""
    rows = re.findall(r"^([\d.]+) -- ([\d.]+) (\S+)", text, re.MULTILINE)
    return [RttmTurn(name, float(begin), float(end) - float(begin), speaker) for begin, end, speaker in rows]


def ours(pipeline: Pipeline, truth: list[RttmTurn], path: Path, num_speakers: int) -> tuple[list[RttmTurn], float]:
    """The default preset in this process."""
    bounds = {"min_speakers": num_speakers, "max_speakers": num_speakers} if num_speakers else {}
    begin = time.process_time()
    turns = pipeline.read(path).turns(truth[0].file, msgspec.structs.replace(CHORUS, **bounds))
    return turns, time.process_time() - begin


@click.command()
@click.argument("dialogues", type=_FOLDER)
@click.option("--models", type=_FOLDER, required=True)
@click.option("--only", default="*", help="Pattern of the files' names.")
@click.option("--known", is_flag=True, help="Tell both the number of speakers.")
@click.option("--program", default="sherpa-onnx-offline-speaker-diarization", show_default=True)
def main(dialogues: Path, models: Path, only: str, known: bool, program: str) -> None:
    """Compare on DIALOGUES, FLAC files with RTTM files of their names beside them."""
    sherpa, pipeline = Sherpa(program, models), Pipeline(models)
    scores = {"sherpa-onnx": Score(), "chorus": Score()}
    paths, seconds = sorted(dialogues.glob(f"{only}.flac")), 0.0
    for path in paths:
        truth = read_rttm(path.with_suffix(".rttm").read_text(encoding="utf-8"))
        number = len({turn.speaker for turn in truth}) if known else 0
        peer = scores["sherpa-onnx"].add(truth, *sherpa.run(truth, path, number))
        own = scores["chorus"].add(truth, *ours(pipeline, truth, path, number))
        seconds += soundfile.info(path).duration
        print(f"{path.stem}: sherpa-onnx {100 * peer:.2f} %, chorus {100 * own:.2f} %", flush=True)
    for name, score in scores.items():
        rates = ", ".join(f"{100 * score.errors[collar].rate:.2f} % at collar {collar:g} s" for collar in COLLARS)
        print(f"{name:12s} {rates}; wrong number of speakers {score.wrong}/{len(paths)}; ", end="")
        print(f"{score.cpu_s:.1f} processor s for {seconds:.0f} s of audio")


if __name__ == "__main__":
    main()
