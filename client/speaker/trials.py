"""Trials of speaker verification: who is compared with whom, and their scores, as WeSpeaker's `score.py` has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.errors import BadList
from client.speaker.archive import load
from client.speaker.values import Vector
from speech.verification.cohort import Cohort, statistics
from speech.verification.vectors import unit

_LABELS = {"target": True, "1": True, "nontarget": False, "0": False}
DECIMALS = 5
"""Of a score in a file; rates are computed from what the file says, as WeSpeaker does."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison; `is_target` None where nobody says."""

    enrolment: str
    test: str
    is_target: bool | None


def read_trials(path: Path) -> list[Trial]:
    """Read `enrolment test [target|nontarget]` lines (1 and 0 will do). Raises BadList naming the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadList(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    trials = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) not in (2, 3) or (len(fields) == 3 and fields[2] not in _LABELS):
            raise BadList(f"{path}:{number}: expected `enrolment test [target|nontarget]`, got {line.strip()!r}")
        trials.append(Trial(fields[0], fields[1], _LABELS[fields[2]] if len(fields) == 3 else None))
    if not trials:
        raise BadList(f"{path} holds no trials")
    return trials


def read_mean(path: Path) -> Vector:
    """Read a mean vector: a .npy file, an .scp list whose vectors are averaged, or a folder with `xvector.scp`.

    As WeSpeaker: the plain average of the vectors as they are, not scaled. Raises BadList.
    """
    if path.is_dir():
        path = next((each for each in (path / "xvector.scp", path / "xvector_000.scp") if each.is_file()), path)
    if path.is_dir():
        raise BadList(f"{path}: neither xvector.scp nor xvector_000.scp in it")
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path), np.float32).reshape(-1)
        except (OSError, ValueError) as error:
            raise BadList(f"{path}: cannot be read: {error}") from error
    vectors = load(path)
    if not vectors:
        raise BadList(f"{path} lists no vectors")
    mean: Vector = np.mean(np.stack(list(vectors.values())).astype(np.float64), axis=0).astype(np.float32)
    return mean


def score_trials(
    trials: Sequence[Trial],
    enrolment: Mapping[str, Vector],
    test: Mapping[str, Vector],
    mean: Vector | None = None,
    cohort: Sequence[Vector] = (),
    top_n: int = 0,
) -> npt.NDArray[np.float64]:
    """Return the cosine of each trial's vectors less `mean`, or its AS-norm by a cohort. Raises BadList, BadOption."""
    missing = [each.enrolment for each in trials if each.enrolment not in enrolment]
    missing += [each.test for each in trials if each.test not in test]
    if missing:
        raise BadList(f"{len(set(missing))} ids of the trials have no vector, the first is {missing[0]}")
    sides = [_centred(vectors, mean) for vectors in (enrolment, test)]
    left = np.stack([sides[0][each.enrolment] for each in trials])
    right = np.stack([sides[1][each.test] for each in trials])
    scores: npt.NDArray[np.float64] = np.einsum("nd,nd->n", left.astype(np.float64), right.astype(np.float64))
    if not len(cohort):
        return scores
    others = Cohort(_unit_rows(np.stack(list(cohort)), mean), top_n or len(cohort))
    parts = []
    for vectors, names in ((sides[0], [each.enrolment for each in trials]), (sides[1], [each.test for each in trials])):
        used = {name: row for row, name in enumerate(dict.fromkeys(names))}
        means, deviations = statistics(np.stack([vectors[name] for name in used]), others)
        rows = [used[name] for name in names]
        parts.append((scores - means[rows]) / deviations[rows])
    return 0.5 * (parts[0] + parts[1])


def _centred(vectors: Mapping[str, Vector], mean: Vector | None) -> dict[str, Vector]:
    if not vectors:
        return {}
    rows = _unit_rows(np.stack(list(vectors.values())), mean)
    return dict(zip(vectors, rows, strict=True))


def _unit_rows(rows: Vector, mean: Vector | None) -> Vector:
    if mean is not None and mean.shape != rows.shape[1:]:
        raise BadList(f"the mean vector has {len(mean)} values, the vectors have {rows.shape[1]}")
    return unit(rows if mean is None else rows - mean)
