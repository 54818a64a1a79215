"""What ships in models/ stays small, and says what it is."""

import gzip
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/model.toml"))
CARD = ("architecture", "parameters", "licence", "training", "word error rate", "aims", "latency", "weaknesses")


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def test_all_models_together_are_at_most_40_megabytes() -> None:
    assert megabytes(MODELS) <= 40


def test_the_language_model_is_at_most_10_megabytes_unpacked_too() -> None:
    with gzip.open(MODELS / "english-lm" / "lm.arpa.gz") as packed:
        assert len(packed.read()) / 1e6 <= 10


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_model_card_leaves_nothing_out(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8").lower()
    assert [word for word in CARD if word not in card] == []
