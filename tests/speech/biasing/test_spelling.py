from pathlib import Path

import pytest

from speech.biasing.spelling import Speller
from speech.errors import BadOption
from speech.hotwords import Hotword, parse_hotwords
from speech.tokens import TokenTable

ROOT = Path(__file__).parents[3]
CHINESE = ["<blank>", "<unk>", "你", "好", "北", "京", "A", "B", "C", "▁", "▁HE", "LL", "O", "▁LO", "<sos/eos>"]
# Ids as SentencePiece gives them for BPE: merges in order, characters last.
BPE = ["<blank>", "ab", "▁c", "abc", "▁cab", "▁", "a", "b", "c"]


def spelled(pieces, phrase, unit="auto"):
    ids = Speller(TokenTable(pieces)).spell(phrase, unit)
    return None if ids is None else [pieces[token] for token in ids]


@pytest.mark.parametrize(
    ("pieces", "phrase", "unit", "expected"),
    [(CHINESE, "你好", "auto", ["你", "好"]),
     (CHINESE, "你好 hello北京", "auto", ["你", "好", "▁HE", "LL", "O", "北", "京"]),
     (CHINESE, "  Hello\tlo ", "auto", ["▁HE", "LL", "O", "▁LO"]),
     (CHINESE, "\uff21\uff22", "character", ["▁", "A", "B"]),
     (CHINESE, "你坏", "auto", None),
     (CHINESE, "", "auto", []),
     (BPE, "abc", "auto", ["▁", "abc"]),
     (BPE, "CABC", "auto", ["▁c", "abc"]),
     (BPE, "cabab", "bpe", ["▁cab", "ab"]),
     (BPE, "cab", "character", ["▁c", "a", "b"]),
     (BPE, "cad", "auto", None),
     (["<blank>", "A", "AB", "ABC", "B", "BC", "C", "CD", "D"], "ABCD", "auto", ["ABC", "D"])],
)  # fmt: skip
def test_phrases_are_cut_as_the_tokenizer_would(pieces, phrase, unit, expected):
    assert spelled(pieces, phrase, unit) == expected


def test_bytes_spell_what_pieces_cannot():
    pieces = ["<blank>", "▁a", *(f"<0x{byte:02X}>" for byte in range(256)), "b"]
    table = TokenTable(pieces)
    ids = Speller(table).spell("a é")
    assert ids is not None
    assert table.text(ids) == "a é"


def test_byte_level_pieces_are_written_in_their_alphabet():
    alphabet = TokenTable.to_byte_level("你ü")
    table = TokenTable(["<blank>", "▁", *sorted(set(alphabet)), "▁" + TokenTable.to_byte_level("你")])
    assert table.is_byte_level
    ids = Speller(table).spell("你 ü")
    assert ids is not None
    assert table.text(ids) == "你 ü"
    assert ids[0] == len(table) - 1


def test_every_dev_word_is_written_back_by_the_embedded_table():
    with (ROOT / "models" / "english-u2pp" / "units.txt").open(encoding="utf-8") as lines:
        table = TokenTable.from_lines(lines)
    speller = Speller(table)
    for phrase in ("harbour master", "THE BIRCH CANOE SLID ON", "don't", "Quartz vex"):
        assert table.text(speller.spell(phrase)) == phrase.upper()
    # As SentencePiece cut them when the model was trained (recipes/u2pp/tokens.py).
    assert [table.pieces[token] for token in speller.spell("corner store")] == [
        "▁C", "OR", "N", "ER", "▁ST", "OR", "E",
    ]  # fmt: skip


def test_lists_have_a_phrase_a_line_and_boosts_where_given():
    lines = ["\ufeffharbour master :3.5\n", "# a remark\n", "\n", "ratio 3:1\n", "Caleb :  20\n"]
    assert parse_hotwords(lines) == [Hotword("harbour master", 3.5), Hotword("ratio 3:1"), Hotword("Caleb", 20.0)]


@pytest.mark.parametrize("line", ["x :0", "x :101", "x :1e", "x" * 201, "a :-1"])
def test_a_wrong_line_is_refused_by_number(line):
    with pytest.raises(BadOption, match="friends, line 2"):
        parse_hotwords(["fine", line], "friends")
