"""Kaldi's lists: wav.scp (id and path) and text (id and words); and which id a file gets without a list."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.errors import BadList


@dataclass(frozen=True, slots=True)
class Recording:
    """One piece of audio to recognise: `path` is a file, or `-` for standard input."""

    id: str
    path: str


def from_paths(paths: Sequence[str]) -> list[Recording]:
    """Name each file by its stem, or by its whole path where stems repeat."""
    stems = Counter(_stem(path) for path in dict.fromkeys(paths))
    return [Recording(_stem(path) if stems[_stem(path)] == 1 else path, path) for path in paths]


def read_wav_scp(path: Path) -> list[Recording]:
    """Read `id path` lines, cut at the first space or tab; paths are relative to where the command runs, as in Kaldi.

    Raises BadList for lines without a path, repeated ids, and the commands (`sox ... |`) Kaldi would run: a list
    should not be able to run programs.
    """
    recordings = []
    for where, key, rest in _lines(path):
        if rest.endswith("|") or rest.startswith("|"):
            raise BadList(f"{where}: {key} is a command ({rest}): only paths of files are read")
        if not rest:
            raise BadList(f"{where}: {key} has no path")
        recordings.append(Recording(key, rest))
    return recordings


def read_texts(path: Path) -> dict[str, str]:
    """Read `id text` lines, cut at the first space or tab; the text may be empty. Raises BadList for repeated ids."""
    return {key: rest for _, key, rest in _lines(path)}


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Give (file:line, id, rest) of each line that is not blank. Raises BadList."""
    seen: dict[str, int] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadList(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadList(f"{path}: not UTF-8 text: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        key, *rest = line.strip().split(maxsplit=1)
        if key in seen:
            raise BadList(f"{path}:{number}: {key} was there before, in line {seen[key]}")
        seen[key] = number
        yield f"{path}:{number}", key, rest[0] if rest else ""


def _stem(path: str) -> str:
    return "stdin" if path == "-" else Path(path).stem
