"""RTTM, the text form of who spoke when: one `SPEAKER` line for each turn, as NIST's scorers read it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from speech.errors import BadRttm

# Line types of NIST's RTTM-format-v13 that say nothing about turns.
OTHER_TYPES = frozenset(
    {
        "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "SU", "IP", "CB", "A/P",
        "SEGMENT", "SPKR-INFO",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RttmTurn:
    """One turn of one file, in seconds."""

    file: str
    begin_s: float
    duration_s: float
    speaker: str
    channel: str = "1"

    @property
    def end_s(self) -> float:
        return self.begin_s + self.duration_s


def write_rttm(turns: Iterable[RttmTurn]) -> str:
    """Give the lines, in the given order, times to the millisecond. Raises BadRttm for names with white space."""
    return "".join(f"{_line(turn)}\n" for turn in turns)


def _line(turn: RttmTurn) -> str:
    for name in (turn.file, turn.speaker, turn.channel):
        if not name or name.split() != [name]:
            raise BadRttm(f"the name {name!r} is empty or has white space, which RTTM cannot hold")
    # From the rounded ends: a begin and a duration rounded apart may miss the end by a millisecond.
    begin_ms, end_ms = round(turn.begin_s * 1000), round(turn.end_s * 1000)
    times = f"{begin_ms / 1000:.3f} {(end_ms - begin_ms) / 1000:.3f}"
    return f"SPEAKER {turn.file} {turn.channel} {times} <NA> <NA> {turn.speaker} <NA> <NA>"


def read_rttm(text: str, source: str = "RTTM") -> list[RttmTurn]:
    """Give the turns of SPEAKER lines, in their order; other known line types and `;;` comments are passed over.

    Raises BadRttm, naming `source` and the line.
    """
    return [
        _turn(fields, f"{source}, line {number}")
        for number, line in enumerate(text.splitlines(), 1)
        if (fields := line.split()) and not fields[0].startswith(";;") and fields[0] not in OTHER_TYPES
    ]


def _turn(fields: list[str], where: str) -> RttmTurn:
    if fields[0] != "SPEAKER":
        raise BadRttm(f"{where}: the line begins with {fields[0]!r}, not with SPEAKER")
    if not 8 <= len(fields) <= 10:
        raise BadRttm(f"{where}: {len(fields)} fields; a SPEAKER line has 8 to 10")
    try:
        begin_s, duration_s = float(fields[3]), float(fields[4])
    except ValueError:
        raise BadRttm(f"{where}: begin {fields[3]!r} and duration {fields[4]!r} must be numbers") from None
    if not (math.isfinite(begin_s) and math.isfinite(duration_s)) or begin_s < 0 or duration_s < 0:
        raise BadRttm(f"{where}: begin {begin_s:g} s and duration {duration_s:g} s must be finite and not negative")
    return RttmTurn(fields[1], begin_s, duration_s, fields[7], fields[2])
