"""Token ids to text and words: the table of a model's pieces and every spelling convention such tables use."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Self, cast

from speech.errors import BadTokens
from speech.results import Word

_LINE = re.compile(r"(?:(?P<piece>.*?)[ \t]+)?(?P<id>[0-9]+)[ \t]*")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's sign for a space

_BLANKS = ("<blk>", "<eps>", "<blank>")
_STARTS = ("<sos/eos>", "<sos>", "<s>")
_ENDS = ("<sos/eos>", "<eos>", "</s>")
_SILENT = {*_BLANKS, *_STARTS, *_ENDS, "<unk>", "<pad>", "<mask>", "<context>", "</context>"}
_CONTROL = re.compile(r"<\|.*\|>|#\d+")  # tags such as <|en|>, and the disambiguation symbols of lexicons
_DISAMBIGUATION = re.compile(r"#\d+")

# Written without spaces: Han, kana, their punctuation and full-width forms. Not Hangul: Korean has spaces.
_UNSPACED = "\u2e80-\u2fdf\u3000-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
_UNSPACED += "\uff00-\uff9f\U00020000-\U0003ffff"
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_GAP = re.compile(f"(?<=[{_UNSPACED}]) +(?=[{_UNSPACED}])")


def _byte_alphabet() -> dict[str, int]:
    """Return the characters that byte-level BPE writes for bytes.

    Printable ASCII stands for itself. All other bytes take the characters from U+0100 on in order, leaving out those
    that NFKC would change (fairseq's byte_utils, which icefall follows): the last one is U+01A6.
    """
    spare = (char for char in map(chr, range(0x100, 0x200)) if unicodedata.normalize("NFKC", char) == char)
    return {chr(byte) if 32 <= byte < 127 else next(spare): byte for byte in range(256)}


_BYTE_ALPHABET = _byte_alphabet()
_BYTE_CHARACTERS = {byte: char for char, byte in _BYTE_ALPHABET.items()}
_BYTE_LEVEL_MARK = "\u0180"  # UTF-8 lead byte 0xC6; no table of a written language stays in the alphabet and uses these


class TokenTable:
    """The pieces of a model by id. Immutable: any number of threads may share one."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """Take the pieces in the order of their ids. Raises BadTokens for an empty table."""
        if not pieces:
            raise BadTokens("the token table is empty")
        self.pieces = tuple(pieces)
        self._ids = {piece: token for token, piece in reversed(list(enumerate(self.pieces)))}
        blank, unk = self._find(_BLANKS), self._find(("<unk>",))
        start, end = self._find(_STARTS), self._find(_ENDS)
        self.blank_id = 0 if blank is None else blank
        self.unk_id = unk
        self.sos_id = len(self.pieces) - 1 if start is None else start
        self.eos_id = len(self.pieces) - 1 if end is None else end
        self.is_byte_level = _is_byte_level(self.pieces)
        # Byte fallback, as sherpa-onnx recognises it: all 256 bytes in a row.
        self.has_byte_pieces = self._ids.get("<0xFF>", 0) - self._ids.get("<0x00>", 0) == 255
        # What each token writes: text, or the bytes of a part of a character.
        self.spellings = tuple(self._spell(token) for token in range(len(self.pieces)))

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> Self:
        """Read `piece id` lines (units.txt, words.txt, tokens.txt) in any order; a number alone is a space's id.

        Take the lines from an open file, not from `str.splitlines`, which also cuts at characters that are pieces.
        Raises BadTokens naming the line: not a piece and a number, an id given twice; or naming the first missing id.
        """
        pieces: dict[int, str] = {}
        for number, line in enumerate(lines, start=1):
            text = line.rstrip("\r\n").removeprefix("\ufeff")
            if not text:
                continue
            match = _LINE.fullmatch(text)
            if match is None or " " in (match["piece"] or "").strip(" "):
                raise BadTokens(f"line {number} of the token table is {text!r}: a piece, a space and a number expected")
            token = int(match["id"])
            if token in pieces:
                raise BadTokens(f"line {number} of the token table gives id {token} again (first to {pieces[token]!r})")
            pieces[token] = match["piece"] or " "
        missing = next((token for token in range(len(pieces)) if token not in pieces), None)
        if missing is not None:
            raise BadTokens(f"the token table has {len(pieces)} pieces but none with id {missing}")
        return cls([pieces[token] for token in range(len(pieces))])

    @property
    def num_scored(self) -> int:
        """Pieces that a network can score: those in front of a lexicon's disambiguation symbols (#0, #1)."""
        count = len(self.pieces)
        while count > 1 and _DISAMBIGUATION.fullmatch(self.pieces[count - 1]):
            count -= 1
        return count

    def __len__(self) -> int:
        return len(self.pieces)

    @staticmethod
    def to_byte_level(text: str) -> str:
        """Write `text` in the alphabet of byte-level pieces."""
        return "".join(_BYTE_CHARACTERS[byte] for byte in text.encode())

    def text(self, ids: Sequence[int]) -> str:
        """Return what the tokens write, for reading: no specials, no spaces between Chinese or Japanese characters.

        Bytes are assembled before they are decoded; those that are not UTF-8 become U+FFFD. Raises BadTokens for an
        id outside the table.
        """
        if ids and min(ids) < 0:  # which would silently be another token
            self._spelling(min(ids))
        spellings = self.spellings
        try:
            parts = [spellings[token] for token in ids]
        except IndexError:
            self._spelling(max(ids))
            raise
        try:
            written = "".join(cast(list[str], parts))
        except TypeError:  # some are bytes
            written = b"".join([part if isinstance(part, bytes) else part.encode() for part in parts]).decode(
                errors="replace"
            )
        text = " ".join(written.replace(SPACE_MARK, " ").split())
        return text if text.isascii() else _GAP.sub("", text)

    def words(
        self, ids: Sequence[int], starts: Sequence[int], ends: Sequence[int], confidences: Sequence[float]
    ) -> list[Word]:
        """Group tokens to words by the spaces they write; each Chinese or Japanese character is a word of its own.

        `starts` and `ends` are the tokens' times in ms. A word lasts from its first token's start to its last
        token's end, and is as sure as its least certain token.
        """
        if not len(ids) == len(starts) == len(ends) == len(confidences):
            raise BadTokens(f"{len(ids)} tokens with {len(starts)} starts, {len(ends)} ends, {len(confidences)} values")
        words: list[Word] = []
        for text, first, last in _split(self._characters(ids)):
            span = [index for index in range(first, last + 1) if self._spelling(ids[index])]
            confidence = min(float(confidences[index]) for index in span)
            words.append(Word(text, int(starts[first]), int(ends[last]), confidence))
        return words

    def _characters(self, ids: Sequence[int]) -> Iterator[tuple[str, int, int]]:
        """Yield each character written with the indices of the first and the last token that took part in it."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        waiting: int | None = None  # the token that began a character whose bytes are not complete
        for index, token in enumerate(ids):
            spelling = self._spelling(token)
            if waiting is None and isinstance(spelling, str):
                yield from ((char, index, index) for char in spelling.replace(SPACE_MARK, " "))
                continue
            for byte in spelling if isinstance(spelling, bytes) else spelling.encode():
                waiting = index if waiting is None else waiting
                written = decoder.decode(bytes([byte]))
                if written:
                    yield from ((char, waiting, index) for char in written.replace(SPACE_MARK, " "))
                    waiting = index if decoder.getstate()[0] else None
        if waiting is not None:
            yield from ((char, waiting, len(ids) - 1) for char in decoder.decode(b"", final=True))

    def _find(self, names: Iterable[str]) -> int | None:
        return next((self._ids[name] for name in names if name in self._ids), None)

    def _spelling(self, token: int) -> str | bytes:
        if not 0 <= token < len(self.spellings):
            raise BadTokens(f"token id {token} is not in the table of {len(self.spellings)} pieces")
        return self.spellings[token]

    def _spell(self, token: int) -> str | bytes:
        piece = self.pieces[token]
        if token == self.blank_id or piece in _SILENT or _CONTROL.fullmatch(piece):
            return ""
        byte = _BYTE.fullmatch(piece) if self.has_byte_pieces else None
        if byte is not None:
            return bytes([int(byte[1], 16)])
        if self.is_byte_level:
            return bytes(_BYTE_ALPHABET[char] for char in piece.replace(SPACE_MARK, " "))
        return piece


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script written without spaces: Chinese or Japanese."""
    return _IS_UNSPACED.match(char) is not None


def _is_byte_level(pieces: Sequence[str]) -> bool:
    """Whether all pieces are written in the byte alphabet, and some with its last characters."""
    written = "".join(pieces).replace(SPACE_MARK, "")
    return written != "" and max(written) >= _BYTE_LEVEL_MARK and all(char in _BYTE_ALPHABET for char in written)


def _split(characters: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Join characters to words: (text, first token, last token)."""
    text, first, last = "", 0, 0
    for char, char_first, char_last in characters:
        is_space = char.isspace()
        stands_alone = not is_space and is_unspaced(char)
        if text and (is_space or stands_alone):
            yield text, first, last
            text = ""
        if stands_alone:
            yield char, char_first, char_last
        elif not is_space:
            first = first if text else char_first
            text, last = text + char, char_last
    if text:
        yield text, first, last
