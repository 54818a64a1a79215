"""Readings by people to measure with: the LibriVox table is read as it is written."""

import pytest

pytest.importorskip("soxr", reason="resampling is installed for recipes and clients")

from recipes.readers import LIBRIVOX, OTHERS, readings


def test_librivox_lines_become_transcripts_beside_the_others(tmp_path):
    folder = tmp_path / LIBRIVOX
    folder.mkdir(parents=True)
    lines = (
        "<s> he was not an ill disposed young man </s> (sense_austen_64kb-0880)",
        "<s> had he married a more a amiable woman </s> (sense_austen_64kb-0920)",
    )
    (folder / "transcription").write_text("\n".join(lines) + "\n")
    found = {name: (path, text) for name, path, text in readings(tmp_path)}
    assert found["librivox-0880"] == (folder / "sense_austen_64kb-0880.wav", "HE WAS NOT AN ILL DISPOSED YOUNG MAN")
    assert found["librivox-0920"][1] == "HAD HE MARRIED A MORE AMIABLE WOMAN"
    assert len(found) == 2 + len(OTHERS)
    assert all(text == text.upper() for _, text in found.values())
