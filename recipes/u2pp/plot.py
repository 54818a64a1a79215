"""Draw the log.csv of a run, or of several that followed each other: `python -m recipes.u2pp.plot LOG... PICTURE`."""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

LOSSES = ("ctc", "attention", "transducer", "second")


def column(rows: list[dict[str, str]], name: str) -> tuple[list[float], list[float]]:
    """Minutes and values of the rows that have a value."""
    kept = [row for row in rows if row.get(name)]
    return [float(row["minutes"]) for row in kept], [float(row[name]) for row in kept]


def read_logs(paths: list[Path]) -> list[dict[str, str]]:
    """Rows of logs one behind the other: minutes go on where the log before ended."""
    rows: list[dict[str, str]] = []
    for path in paths:
        before = float(rows[-1]["minutes"]) if rows else 0.0
        with path.open(encoding="utf-8") as stream:
            rows.extend(row | {"minutes": str(float(row["minutes"]) + before)} for row in csv.DictReader(stream))
    return rows


def main() -> None:
    """Losses on the left axis, held-out word error rate on the right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    rows = read_logs(arguments.logs)
    figure, left = pyplot.subplots(figsize=(8, 4.5))
    for name in LOSSES:
        minutes, values = column(rows, name)
        shown = [(m, v) for m, v in zip(minutes, values, strict=True) if v > 0]
        if shown:
            left.plot(*zip(*shown, strict=True), label=f"{name} loss per token", linewidth=1)
    left.set(xlabel="minutes", ylabel="training loss")
    right = left.twinx()
    right.plot(*column(rows, "held_out_wer"), "k.-", label="held-out greedy WER, %")
    right.set(ylabel="word error rate, %", ylim=(0, 105))
    handles = [*left.get_lines(), *right.get_lines()]
    left.legend(handles, [handle.get_label() for handle in handles], loc="upper right")
    figure.tight_layout()
    figure.savefig(arguments.picture, dpi=90)


if __name__ == "__main__":
    main()
