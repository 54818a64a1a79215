import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines import language_model
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


def test_threads_that_want_one_file_read_it_once(tmp_path, monkeypatch):
    path = tmp_path / "words.arpa"
    path.write_bytes((LM / "words.arpa").read_bytes())
    read, may_go_on, num_read = language_model.read_arpa, threading.Event(), []

    def counted(lines):
        num_read.append(1)
        assert may_go_on.wait(30)
        return read(lines)

    monkeypatch.setattr(language_model, "read_arpa", counted)
    with ThreadPoolExecutor(4) as threads:
        models = [threads.submit(read_lm, path) for _ in range(4)]
        may_go_on.set()
    assert len(num_read) == 1
    assert len({id(model.result()) for model in models}) == 1
