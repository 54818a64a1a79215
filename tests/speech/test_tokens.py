"""Token tables: every file convention, bytes assembled before decoding, words with times."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import BadTokens
from speech.results import Word
from speech.tokens import TokenTable

MARK = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def table(*pieces: str) -> TokenTable:
    return TokenTable.from_lines(f"{piece} {token}\n" for token, piece in enumerate(pieces))


def words(tokens: TokenTable, ids: list[int]) -> list[Word]:
    """Token k lasts from 100 k to 100 k + 80 ms, with confidence 0.9 - 0.1 k."""
    return tokens.words(
        ids, [100 * k for k in range(len(ids))], [100 * k + 80 for k in range(len(ids))], [0.9 - 0.1 * k for k in ids]
    )


def byte_characters() -> list[str]:
    """The alphabet of byte-level BPE, written out from its rule."""
    spare = iter(char for char in map(chr, range(256, 512)) if unicodedata.normalize("NFKC", char) == char)
    return [chr(byte) if 32 <= byte < 127 else next(spare) for byte in range(256)]


def test_wenet_units_have_blank_unk_and_sos_eos_by_name() -> None:
    tokens = table("<blank>", "<unk>", "<sos/eos>", "中", "国")
    assert (tokens.blank_id, tokens.unk_id, tokens.sos_id, tokens.eos_id) == (0, 1, 2, 2)
    assert len(tokens) == 5
    assert tokens.pieces[3] == "中"


def test_icefall_tokens_have_blank_sos_eos_and_unk_by_name() -> None:
    tokens = table("<blk>", "<sos/eos>", "<unk>", f"{MARK}A")
    assert (tokens.blank_id, tokens.unk_id, tokens.sos_id, tokens.eos_id) == (0, 2, 1, 1)


def test_separate_sos_and_eos_are_found() -> None:
    tokens = table("<blank>", "<s>", "</s>", "a")
    assert (tokens.sos_id, tokens.eos_id) == (1, 2)


def test_without_names_blank_is_first_and_sos_eos_is_last() -> None:
    tokens = table("a", "b", "c")
    assert (tokens.blank_id, tokens.unk_id, tokens.sos_id, tokens.eos_id) == (0, None, 2, 2)


def test_blk_is_preferred_to_eps_and_blank() -> None:
    assert table("<blank>", "<eps>", "<blk>").blank_id == 2
    assert table("<blank>", "<eps>").blank_id == 1


@pytest.mark.parametrize("line", ["3\n", "  3\n", " \t3\r\n", "3"])
def test_a_line_without_a_piece_is_the_space_token(line: str) -> None:
    tokens = TokenTable.from_lines(["<blk> 0\n", "a 1\n", "b 2\n", line])
    assert tokens.pieces[3] == " "
    assert tokens.text([1, 3, 2]) == "a b"


def test_pieces_may_be_other_kinds_of_space_digits_or_tabbed() -> None:
    tokens = TokenTable.from_lines(["\ufeff<blk> 0\n", "\u3000 1\n", "5 2\n", "x\t3\n", "\n"])
    assert tokens.pieces == ("<blk>", "\u3000", "5", "x")


def test_lines_may_come_in_any_order() -> None:
    assert TokenTable.from_lines(["b 2", "<blk> 0", "a 1"]).pieces == ("<blk>", "a", "b")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["<blk> 0", "hello"], "line 2"),
        (["<blk> 0", "a 1 junk"], "line 2"),
        (["<blk> 0", "a b 1"], "line 2"),
        (["<blk> 0", "a -1"], "line 2"),
        (["<blk> 0", "a 1", "b 1"], "line 3 .* gives id 1 again"),
        (["<blk> 0", "a 2"], "none with id 1"),
        ([], "empty"),
    ],
)
def test_malformed_tables_are_refused_by_line(lines: list[str], message: str) -> None:
    with pytest.raises(BadTokens, match=message):
        TokenTable.from_lines(lines)


def test_marks_become_spaces_and_specials_vanish() -> None:
    tokens = table("<blk>", "<sos/eos>", "<unk>", f"{MARK}HE", "LLO", f"{MARK}WORLD", "<|en|>", "#0", MARK)
    assert tokens.text([1, 6, 3, 4, 0, 2, 8, 5, 7, 1]) == "HELLO WORLD"
    assert tokens.text([]) == ""


def test_no_spaces_between_chinese_or_japanese_but_beside_latin_and_in_korean() -> None:
    tokens = table("<blk>", f"{MARK}今", f"{MARK}天", f"{MARK}OK", f"{MARK}です", f"{MARK}안녕", f"{MARK}하세요")
    assert tokens.text([1, 2, 4]) == "今天です"
    assert tokens.text([1, 3, 2]) == "今 OK 天"
    assert tokens.text([5, 6]) == "안녕 하세요"


def test_byte_fallback_assembles_characters_and_marks_broken_ones() -> None:
    tokens = table("<blk>", "<sos/eos>", "<unk>", *BYTES, f"{MARK}x")
    ids = [3 + byte for byte in "é中".encode()]
    assert tokens.text([259, *ids]) == "xé中"
    assert tokens.text([3 + 0xE4, 3 + 0xB8, 259]) == "\ufffd x"


def test_single_byte_pieces_are_text_where_there_is_no_byte_fallback() -> None:
    assert table("<blk>", "<0x41>").text([1]) == "<0x41>"


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=12, alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_byte_level_bpe_gives_back_any_text(written: str) -> None:
    alphabet = byte_characters()
    pieces = ["<blk>", "<sos/eos>", "<unk>", *(char for char in alphabet if char != " "), MARK]
    tokens = TokenTable(pieces)
    index = {piece: token for token, piece in enumerate(pieces)}
    ids = [index[MARK if byte == 32 else alphabet[byte]] for byte in written.encode()]
    plain = TokenTable(["<blk>", *dict.fromkeys(written)])
    assert tokens.text(ids) == plain.text([plain.pieces.index(char) for char in written])


def test_words_start_at_marks_and_take_times_and_the_least_confidence() -> None:
    tokens = table("<blk>", f"{MARK}he", "llo", f"{MARK}world")
    assert words(tokens, [1, 2, 3]) == [
        Word("hello", 0, 180, pytest.approx(0.7)),
        Word("world", 200, 280, pytest.approx(0.6)),
    ]


def test_each_chinese_character_is_a_word_and_parts_latin_ones() -> None:
    tokens = table("<blk>", f"{MARK}中国", "a", "b", "人")
    found = words(tokens, [1, 2, 3, 4])
    assert [(word.text, word.start_ms, word.end_ms) for word in found] == [
        ("中", 0, 80),
        ("国", 0, 80),
        ("ab", 100, 280),
        ("人", 300, 380),
    ]


def test_a_character_of_several_byte_tokens_spans_them_all() -> None:
    tokens = table("<blk>", "<sos/eos>", "<unk>", *BYTES, f"{MARK}x")
    ids = [259, *(3 + byte for byte in "é中".encode())]
    times = list(range(0, 600, 100))
    found = tokens.words(ids, times, [time + 80 for time in times], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert found == [Word("xé", 0, 280, 0.7), Word("中", 300, 580, 0.4)]


def test_specials_neither_part_words_nor_lower_their_confidence() -> None:
    tokens = table("<blk>", "<unk>", f"{MARK}a", "b")
    assert tokens.words([2, 1, 3], [0, 1, 2], [1, 2, 3], [0.9, 0.1, 0.8]) == [Word("ab", 0, 3, 0.8)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 264), max_size=20))
def test_words_and_text_write_the_same_characters(ids: list[int]) -> None:
    tokens = table("<blk>", "<sos/eos>", "<unk>", *BYTES, f"{MARK}x", "y", "中", MARK, "<|zh|>", f"{MARK}日本")
    joined = "".join(word.text for word in words(tokens, ids))
    assert joined.replace(" ", "") == tokens.text(ids).replace(" ", "")


@pytest.mark.parametrize("token", [-1, 3])
def test_ids_outside_the_table_are_refused(token: int) -> None:
    with pytest.raises(BadTokens, match=f"id {token} is not"):
        table("<blk>", "a", "b").text([token])


def test_words_want_times_for_every_token() -> None:
    with pytest.raises(BadTokens, match="2 tokens"):
        table("<blk>", "a", "b").words([1, 2], [0], [1], [0.5])
