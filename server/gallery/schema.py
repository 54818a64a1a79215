"""The gallery's file: how it is opened, and what is in it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.gallery.errors import GalleryBusy, GalleryFailed

MEMORY = ":memory:"
APPLICATION_ID = 0x43487370  # "CHsp": tells our files from other SQLite databases
VERSION = 1
BUSY_TIMEOUT_S = 5.0

# A gallery is bound to the fingerprint of its first vector, until its last speaker is deleted. Vectors are
# little-endian float32 as the network gave them: whoever scores them scales them.
_TABLES = """
CREATE TABLE gallery (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL,
    dimension INTEGER NOT NULL CHECK (dimension > 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE speaker (
    id INTEGER PRIMARY KEY,
    gallery TEXT NOT NULL REFERENCES gallery(name),
    speaker_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (gallery, speaker_id)
) STRICT;
CREATE TABLE voice (
    id INTEGER PRIMARY KEY,
    speaker INTEGER NOT NULL REFERENCES speaker(id) ON DELETE CASCADE,
    embedding BLOB NOT NULL,
    speech_s REAL NOT NULL,
    added_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX voice_speaker ON voice(speaker);
"""


def open_file(path: Path | str) -> sqlite3.Connection:
    """Open or make a gallery file. Raises GalleryFailed for anything that is not one, GalleryBusy."""
    with translated_errors(str(path)):
        # Any thread may use it, one at a time: the facade has one thread, and closes it from another.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, str(path))
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if _number(connection, "PRAGMA user_version") != VERSION:
        # Only the lock makes the answers belong together: two processes may meet on a new file.
        with transaction(connection):
            if not _is_made(connection, path):
                _make(connection)
    elif not _is_made(connection, path):
        raise GalleryFailed(f"{path}: a gallery without tables")
    # Readers never wait for a writer. FULL: what was answered is on the disk, also when the power goes.
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _is_made(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the tables are there; False for an empty file. Raises GalleryFailed for a file that is not ours."""
    application, version, tables = (
        _number(connection, query)
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
    )
    if tables and application != APPLICATION_ID:
        raise GalleryFailed(f"{path}: an SQLite file, but not a gallery of Chorus")
    if version > VERSION:
        raise GalleryFailed(f"{path}: a gallery of version {version}; this server knows up to {VERSION}")
    return tables > 0


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _make(connection: sqlite3.Connection) -> None:
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log. SQLite does not wait by itself when two processes do this at once."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and alone among writers from its beginning: what is read inside still holds at the end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_busy(error):
            raise GalleryBusy(f"the gallery was locked by another process for {BUSY_TIMEOUT_S:g} s") from error
        raise GalleryFailed(f"{path}: {error}") from error


def _is_busy(error: sqlite3.Error) -> bool:
    # Not every error has a code: the module's own complaints have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
