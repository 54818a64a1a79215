from pathlib import Path

import pytest

from engines.errors import BadModel
from engines.language_model import fit_report, read_lm

LM = Path(__file__).parents[1] / "data/lm"


@pytest.mark.parametrize("name", ["words.arpa", "probing.bin", "trie.bin"])
def test_the_report_says_the_same_of_an_arpa_file_and_its_binaries(name, tmp_path):
    tokens = tmp_path / "units.txt"
    tokens.write_text("".join(f"{piece} {n}\n" for n, piece in enumerate(["<blank>", "▁A", "▁B", "▁C", "A", "B", "C"])))
    report = fit_report(LM / name, tokens)
    assert f"{name} fits: 4-gram, 42 words" in report
    assert "scored per word: 100.0% of its words can be written" in report


def test_a_damaged_binary_is_refused_with_its_name(tmp_path):
    path = tmp_path / "cut.bin"
    path.write_bytes((LM / "probing.bin").read_bytes()[:5000])
    with pytest.raises(BadModel, match=r"cut\.bin: the KenLM binary is cut short: 5000 bytes"):
        read_lm(path)
