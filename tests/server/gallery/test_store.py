"""The gallery's file: what is kept, what is refused, many writers, and a writer that is killed."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.gallery import schema
from server.gallery.errors import GalleryBusy, GalleryFailed, InconsistentVoices, UnknownSpeaker, WrongFingerprint
from server.gallery.store import GalleryStore, Space, StoredVoice
from speech.errors import BadOption

ROOT = Path(__file__).parents[3]
SPACE = Space("aaaa", "campplus", 8)
OTHER = Space("bbbb", "resnet34", 8)


def voice(seed: int, speech_s: float = 2.0) -> StoredVoice:
    return StoredVoice(np.random.default_rng(seed).standard_normal(8).astype(np.float32), speech_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[GalleryStore]:
    store = GalleryStore(path)
    yield store
    store.close()


def test_what_was_enrolled_is_there_when_the_file_is_opened_again(store: GalleryStore, path: Path) -> None:
    entry, agreement = store.enroll("default", "ann", SPACE, [voice(1)], 1000, {"room": "4"})
    assert (entry.num_voices, entry.speech_s, entry.created_ms, agreement) == (1, 2.0, 1000, 1.0)
    store.close()

    again = GalleryStore(path)
    [found], total = again.entries("default", "", 10)
    space, centre = again.speaker("default", "ann")
    again.close()

    assert (found.speaker_id, found.metadata, found.space, total) == ("ann", {"room": "4"}, SPACE, 1)
    expected = voice(1).embedding / np.linalg.norm(voice(1).embedding)
    np.testing.assert_allclose(centre, expected, atol=1e-6)
    assert space == SPACE


def test_voices_are_added_and_replaced_and_empty_metadata_keeps_what_was(store: GalleryStore) -> None:
    store.enroll("default", "ann", SPACE, [voice(1), voice(2)], 1000, {"room": "4"})
    added, _ = store.enroll("default", "ann", SPACE, [voice(3)], 2000)
    assert (added.num_voices, added.speech_s, added.metadata) == (3, 6.0, {"room": "4"})
    assert (added.created_ms, added.updated_ms) == (1000, 2000)

    replaced, _ = store.enroll("default", "ann", SPACE, [voice(4)], 3000, {"room": "5"}, replace=True)

    assert (replaced.num_voices, replaced.metadata, replaced.created_ms) == (1, {"room": "5"}, 1000)
    expected = voice(4).embedding / np.linalg.norm(voice(4).embedding)
    np.testing.assert_allclose(store.speaker("default", "ann")[1], expected, atol=1e-6)


def test_a_vector_of_another_model_is_refused_with_both_named_until_the_gallery_is_empty(store: GalleryStore) -> None:
    store.enroll("default", "ann", SPACE, [voice(1)], 0)
    with pytest.raises(WrongFingerprint, match=r"'campplus', fingerprint 'aaaa'.*'resnet34', fingerprint 'bbbb'"):
        store.enroll("default", "bob", OTHER, [voice(2)], 0)
    assert [entry.speaker_id for entry in store.entries("default", "", 10)[0]] == ["ann"]
    store.enroll("elsewhere", "bob", OTHER, [voice(2)], 0)  # galleries do not know each other

    assert store.delete("default", "ann") == 1

    store.enroll("default", "bob", OTHER, [voice(2)], 0)
    assert store.centres("default").space == OTHER


def test_nothing_of_a_refused_enrolment_is_kept(store: GalleryStore) -> None:
    one = voice(1)
    store.enroll("default", "ann", SPACE, [one], 0)
    with pytest.raises(InconsistentVoices, match=r"cosine -1.000 .* min_consistency is 0.5"):
        store.enroll("default", "ann", SPACE, [StoredVoice(-one.embedding)], 1, {"x": "y"}, min_consistency=0.5)
    with pytest.raises(BadOption, match="no direction"):
        store.enroll("new", "zero", SPACE, [voice(1), StoredVoice(np.zeros(8, np.float32))], 1)

    [entry], _ = store.entries("default", "", 10)
    assert (entry.num_voices, entry.metadata, entry.updated_ms) == (1, {}, 0)
    assert store.entries("new", "", 10) == ([], 0)
    assert store.centres("new").space is None


def test_speakers_come_in_pages_in_the_order_of_their_ids(store: GalleryStore) -> None:
    names = ["ärger", "zoe", "Ann", "bob", "bo b", "李雷"]
    for number, name in enumerate(names):
        store.enroll("default", name, SPACE, [voice(number)], number)
    after, pages = "", []
    while page := store.entries("default", after, 2)[0]:
        pages.append([entry.speaker_id for entry in page])
        after = pages[-1][-1]
    assert list(itertools.chain(*pages)) == sorted(names)
    assert store.centres("default").ids == tuple(sorted(names))


def test_strangers_are_named(store: GalleryStore) -> None:
    for act in (store.delete, store.speaker):
        with pytest.raises(UnknownSpeaker, match="'eve' is not enrolled in gallery 'default'"):
            act("default", "eve")


def test_a_search_sees_what_another_connection_wrote(store: GalleryStore, path: Path) -> None:
    assert store.centres("default").ids == ()
    other = GalleryStore(path)
    other.enroll("default", "ann", SPACE, [voice(1)], 0)
    assert store.centres("default").ids == ("ann",)
    assert store.centres("default") is store.centres("default"), "read once, not at every search"
    assert store.centres("nobody").ids == ()
    other.delete("default", "ann")
    other.close()
    assert store.centres("default").ids == ()


def test_galleries_asked_for_longest_ago_leave_the_memory_first(
    store: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        store.enroll(name, "ann", SPACE, [voice(1)], 0)
    monkeypatch.setattr("server.gallery.store.CACHE_BYTES", 2 * 8 * 4)  # two speakers of 8 numbers
    first, second = store.centres("a"), store.centres("b")
    assert store.centres("a") is first
    assert store.centres("c").ids == ("ann",)
    assert store.centres("a") is first
    assert store.centres("b") is not second, "the one that nobody asked for since"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"not a database at all" * 100, "not a database"), ("CREATE TABLE t (x)", "not a gallery"), (None, "version 99")],
)
def test_a_file_that_is_no_gallery_is_refused_and_left_as_it_was(
    path: Path, content: bytes | str | None, complaint: str
) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        connection = sqlite3.connect(path)
        connection.execute(content or "CREATE TABLE t (x)")
        if content is None:
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 99")
        connection.commit()
        connection.close()
    before = path.read_bytes()
    with pytest.raises(GalleryFailed, match=complaint):
        GalleryStore(path)
    assert path.read_bytes() == before


def test_a_writer_that_never_lets_go_is_reported_as_busy(
    store: GalleryStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    quick = GalleryStore(path)
    hog = sqlite3.connect(path, isolation_level=None)
    hog.execute("BEGIN IMMEDIATE")
    with pytest.raises(GalleryBusy, match=r"locked by another process for 0\.05 s"):
        quick.enroll("default", "ann", SPACE, [voice(1)], 0)
    assert quick.entries("default", "", 10) == ([], 0), "readers do not wait for a writer"
    hog.execute("ROLLBACK")
    hog.close()
    quick.enroll("default", "ann", SPACE, [voice(1)], 0)
    quick.close()


def writer(path: Path, name: str, count: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("writer.py")), str(path), name, str(count), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_several_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    processes = [writer(path, name, 15, seed) for seed, name in enumerate("abcd")]
    for process in processes:
        start(process)
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    store = GalleryStore(path)
    entries, total = store.entries("default", "", 100)
    store.close()
    assert total == 4 * 15 + 1
    assert {entry.speaker_id: entry.num_voices for entry in entries} == {
        "everybody": 4 * 15,
        **{f"{name}-{number}": 3 for name in "abcd" for number in range(15)},
    }


def test_after_kill_9_every_answered_enrolment_is_whole_and_the_file_is_sound(path: Path) -> None:
    process = writer(path, "a", 100_000, 1)
    start(process)
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    answered += process.stdout.read().split()
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()

    store = GalleryStore(path)
    entries, _ = store.entries("default", "", 1_000_000)
    voices = {entry.speaker_id: entry.num_voices for entry in entries}
    store.enroll("default", "later", Space("f", "m", 8), [voice(1)], 0)  # nothing is locked for ever
    store.close()
    assert set(answered) <= set(voices)
    assert {count for name, count in voices.items() if name != "everybody"} == {3}, "an enrolment is whole or absent"
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
