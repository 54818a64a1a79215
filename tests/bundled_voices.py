"""The four voices of the bundled recordings, cut where one talks alone, at 16 kHz."""

from __future__ import annotations

import numpy as np

from benchmarks.dialogues import load, trimmed
from speech.rttm import RttmTurn, read_rttm
from tests.real_models import ROOT

RATE = 16000
DEMO = ROOT / "models" / "demo"
LEAST_S = 2.0


def voices() -> dict[str, list[np.ndarray]]:
    """Utterances of 2 s or more by voice: Ann's and Ben's of the dialogue, and two of one utterance each."""
    samples = load(DEMO / "dialogue" / "dialogue.ogg")
    turns = read_rttm((DEMO / "dialogue" / "dialogue.rttm").read_text(encoding="utf-8"))
    found: dict[str, list[np.ndarray]] = {}
    for index, turn in enumerate(turns):
        begin = max([turn.begin_s, *(other.end_s for other in turns[:index])])
        end = min([turn.end_s, *(other.begin_s for other in turns[index + 1 :])])
        if end - begin >= LEAST_S:
            found.setdefault(turn.speaker, []).append(samples[int(begin * RATE) : int(end * RATE)])
    return found | {name: [trimmed(load(DEMO / f"{name}.flac"))] for name in ("garden", "harbour")}


def conversation(rounds: int = 4) -> tuple[np.ndarray, list[RttmTurn]]:
    """All four in turn, with pauses of 0.25 to 0.9 s as in the contract's dialogue, and who really spoke when."""
    rng = np.random.default_rng(4)
    parts, turns, at = [np.zeros(RATE // 2, np.float32)], [], RATE // 2
    for number in range(rounds):
        for name, utterances in voices().items():
            spoken = utterances[number % len(utterances)] * np.float32(10 ** (rng.uniform(-6, 0) / 20))
            pause = np.zeros(int(rng.uniform(0.25, 0.9) * RATE), np.float32)
            turns.append(RttmTurn("conversation", at / RATE, len(spoken) / RATE, name))
            parts += [spoken, pause]
            at += len(spoken) + len(pause)
    samples = np.concatenate(parts)
    return samples + rng.normal(0.0, 1e-4, len(samples)).astype(np.float32), turns
