"""The files that exporters write next to a graph: config.yaml, train.yaml, token tables. Read, never trusted alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from sentencepiece import SentencePieceProcessor

from engines.families.common import Findings
from engines.ort import first_line
from speech.errors import BadTokens, SpeechError
from speech.tokens import TokenTable

TOKEN_FILES = ("units.txt", "tokens.txt", "words.txt", "lang_char.txt", "bpe.model")


def read_yaml(name: str, folders: tuple[Path, ...], findings: Findings) -> dict[str, Any]:
    """Return the mapping in the first of the folders' files of this name; a damaged file is a problem."""
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        findings.problem(f"{path}: not YAML: {error}".splitlines()[0])
        return {}
    if isinstance(value, dict):
        return value
    findings.problem(f"{path}: holds a {type(value).__name__}, expected keys and values")
    return {}


def find_tokens(stated: str | None, folders: tuple[Path, ...], findings: Findings) -> Path | None:
    """Return the token file: the stated one, else the first of the usual names; a missing one is a problem."""
    names = (stated,) if stated is not None else TOKEN_FILES
    found = [folder / name for folder in folders for name in names if (folder / name).is_file()]
    if not found:
        findings.problem(f"no token file in {folders[0]}: expected {' or '.join(names)}, one token and its id per line")
        return None
    others = [path for path in found[1:] if path.suffix == ".txt" and path.read_bytes() != found[0].read_bytes()]
    if others:
        findings.note(f"{found[0].name} is used; {', '.join(path.name for path in others)} differ from it")
    return found[0]


def read_tokens(path: Path) -> TokenTable:
    """Read a token file, or a SentencePiece model. Raises SpeechError naming the line, OSError, UnicodeDecodeError."""
    if path.suffix == ".model":
        return TokenTable(_sentence_pieces(path))
    with path.open(encoding="utf-8") as lines:
        return TokenTable.from_lines(lines)


def _sentence_pieces(path: Path) -> list[str]:
    """Return the pieces of a SentencePiece model in the order of their ids."""
    try:
        model = SentencePieceProcessor(model_proto=path.read_bytes())
    except (RuntimeError, ValueError) as error:
        raise BadTokens(f"not a SentencePiece model: {first_line(error)}") from error
    return [model.id_to_piece(index) for index in range(model.get_piece_size())]


def try_read_tokens(path: Path, findings: Findings) -> TokenTable | None:
    """Read a token file; a malformed one is a problem."""
    try:
        return read_tokens(path)
    except (SpeechError, OSError, UnicodeDecodeError) as error:
        findings.problem(f"{path}: {error}")
        return None
