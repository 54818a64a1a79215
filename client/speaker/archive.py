"""Vectors on disk as Kaldi has them: `xvector_000.ark` and `xvector_000.scp`, and from those `.npy` and Parquet.

A run that was broken off goes on where it stopped: the list says what is complete, and the archive is cut back to it.
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kaldiio
import numpy as np

from client.errors import BadList, ClientError
from client.lists import read_texts
from client.speaker.values import Embedding, Vector

NAME = "xvector_000"
_HEADER_BYTES = 10  # "\0BFV \4" and the size as int32, before the values


class OtherModel(ClientError):
    """A folder holds vectors of another model or front end than those that were to be added."""


class Archive:
    """One pair of files, open for adding; close it, or use it in `with`. What `add` returned from is in the files."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        """Go on with the files in `folder`, or with `fresh` begin anew. Raises BadList, OSError."""
        self.ark, self.scp, self._facts = (folder / f"{NAME}{suffix}" for suffix in (".ark", ".scp", ".json"))
        if fresh:
            for path in (self.scp, self.ark, self._facts):
                path.unlink(missing_ok=True)
        self._fingerprint = _read_facts(self._facts).get("fingerprint", "")
        self.ids = set(self._complete())
        self._list = self.scp.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._list.close()

    def add(self, key: str, embedding: Embedding) -> None:
        """Write one vector. Raises OtherModel naming both fingerprints."""
        if not self._fingerprint:
            self._fingerprint = embedding.fingerprint
            facts = {"fingerprint": embedding.fingerprint, "model": embedding.model, "dimension": len(embedding.vector)}
            self._facts.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        if embedding.fingerprint != self._fingerprint:
            raise OtherModel(
                f"{self.ark} holds vectors of fingerprint {self._fingerprint}, the server's {embedding.fingerprint} "
                f"(model {embedding.model}): not comparable; take another folder, or begin anew with --fresh"
            )
        # The archive first: a line of the list always leads to a whole vector.
        begin = self.ark.stat().st_size if self.ark.exists() else 0
        kaldiio.save_ark(str(self.ark), {key: embedding.vector}, append=True)
        offset = begin + len(f"{key} ".encode())
        self._list.write(f"{key} {self.ark.resolve()}:{offset}\n")
        self._list.flush()
        self.ids.add(key)

    def _complete(self) -> list[str]:
        """Ids whose vectors are whole; what follows them in either file is cut off."""
        if not self.scp.is_file():
            self.ark.unlink(missing_ok=True)
            return []
        text = self.scp.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self.scp, len(whole))
        places = read_texts(self.scp)
        size = int(_read_facts(self._facts).get("dimension", 0)) * 4 + _HEADER_BYTES
        ends = [_offset(self.scp, key, place) + size for key, place in places.items()]
        if ends and (not self.ark.is_file() or self.ark.stat().st_size < max(ends)):
            raise BadList(f"{self.ark} is shorter than {self.scp} says: begin anew with --fresh")
        if self.ark.is_file():
            os.truncate(self.ark, max(ends, default=0))
        return list(places)


def load(scp: Path) -> dict[str, Vector]:
    """Read the vectors of a Kaldi list, in its order. Raises BadList for what is missing, damaged or a command."""
    vectors: dict[str, Vector] = {}
    for key, place in read_texts(scp).items():
        if "|" in place:
            raise BadList(f"{scp}: {key} is a command ({place}): only archives are read")
        try:
            vectors[key] = np.asarray(kaldiio.load_mat(place), np.float32).reshape(-1)
        except Exception as error:  # the library's errors have no base of their own
            raise BadList(f"{scp}: {key} cannot be read from {place}: {error}") from error
    return vectors


def to_npy(folder: Path) -> list[Path]:
    """Write `xvector.npy`, (n, dimension) float32, and `xvector.ids`, one id a line."""
    vectors = load(folder / f"{NAME}.scp")
    paths = [folder / "xvector.npy", folder / "xvector.ids"]
    np.save(paths[0], np.stack(list(vectors.values())) if vectors else np.zeros((0, 0), np.float32))
    paths[1].write_text("".join(f"{key}\n" for key in vectors), encoding="utf-8")
    return paths


def to_parquet(folder: Path) -> list[Path]:
    """Write `xvector.parquet`: columns `id` and `embedding`, model and fingerprint in the schema's metadata.

    Raises ClientError where the extra is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ClientError("Parquet needs pyarrow: pip install 'chorus[parquet]'") from error
    vectors = load(folder / f"{NAME}.scp")
    facts = _read_facts(folder / f"{NAME}.json")
    columns = {
        "id": pyarrow.array(list(vectors), pyarrow.string()),
        "embedding": pyarrow.array([row.tolist() for row in vectors.values()], pyarrow.list_(pyarrow.float32())),
    }
    table = pyarrow.table(columns).replace_schema_metadata({key: str(value) for key, value in facts.items()})
    path = folder / "xvector.parquet"
    pyarrow.parquet.write_table(table, path)
    return [path]


def _offset(scp: Path, key: str, place: str) -> int:
    offset = place.rpartition(":")[2]
    if not offset.isdecimal():
        raise BadList(f"{scp}: {key} has no place in an archive: {place}")
    return int(offset)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BadList(f"{path} is damaged: begin anew with --fresh") from error
    return facts if isinstance(facts, dict) else {}
