from pathlib import Path

import pytest

from client.errors import BadList
from client.lists import Recording, from_paths, read_texts, read_wav_scp


def test_wav_scp_takes_spaces_and_tabs_and_paths_with_spaces(tmp_path: Path) -> None:
    scp = tmp_path / "wav.scp"
    scp.write_text("a /x/a.wav\nb\t/x/b c.wav\r\n\n  c   d.flac  \n", encoding="utf-8")
    assert read_wav_scp(scp) == [Recording("a", "/x/a.wav"), Recording("b", "/x/b c.wav"), Recording("c", "d.flac")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a a.wav\nb sox b.wav -t wav - |\n", ":2: b is a command"),
        ("a\n", ":1: a has no path"),
        ("a x.wav\na y.wav\n", ":2: a was there before, in line 1"),
    ],
)
def test_a_wav_scp_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    scp = tmp_path / "wav.scp"
    scp.write_text(content, encoding="utf-8")
    with pytest.raises(BadList, match=message):
        read_wav_scp(scp)


def test_a_list_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadList, match="cannot be read: No such file"):
        read_wav_scp(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"a \xff\xfe\n")
    with pytest.raises(BadList, match="not UTF-8"):
        read_texts(tmp_path / "binary")


def test_texts_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a one  two\nb\n", encoding="utf-8")
    assert read_texts(tmp_path / "text") == {"a": "one  two", "b": ""}


def test_a_file_is_named_by_its_stem_unless_that_is_ambiguous() -> None:
    recordings = from_paths(["x/a.wav", "y/a.flac", "b.tar.wav", "-"])
    assert [recording.id for recording in recordings] == ["x/a.wav", "y/a.flac", "b.tar", "stdin"]
