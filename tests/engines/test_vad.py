"""Voice activity: streams, recordings and batches of them agree; the context is never forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import BadModel
from engines.kinds import kind_of_folder
from engines.pull.store import installed
from engines.vad.silero import MAX_WINDOWS, SileroVad
from speech.audio import Encoding
from speech.containers import decode
from speech.errors import BadAudio
from tests.engines import vad_graphs
from tests.engines.helpers import noise

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vad(tmp_path: Path) -> SileroVad:
    vad_graphs.sequence(tmp_path / "sequence.onnx")
    vad_graphs.rows(tmp_path / "rows.onnx")
    assert kind_of_folder(tmp_path) == "vad"
    return SileroVad(tmp_path)


@pytest.mark.parametrize(("num_samples", "num_windows"), [(0, 0), (1, 1), (511, 1), (512, 1), (513, 2), (16000, 32)])
def test_every_started_window_has_a_probability(vad: SileroVad, num_samples: int, num_windows: int) -> None:
    probabilities = vad.probabilities(noise(1.0)[:num_samples])
    assert probabilities.shape == (num_windows,)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_stream_cut_anywhere_gives_what_the_recording_gives(vad: SileroVad) -> None:
    samples = noise(5.0)
    expected = vad.probabilities(samples)
    rng = np.random.default_rng(1)
    for _ in range(5):
        cuts = np.sort(rng.integers(0, len(samples), 20))
        stream = vad.stream()
        parts = [stream.push(part) for part in np.split(samples, cuts)] + [stream.flush()]
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_recordings_side_by_side_are_what_they_are_alone(vad: SileroVad) -> None:
    recordings = [noise(seconds, seed) for seed, seconds in enumerate([1.0, 3.0, 0.01, 2.0, 0.0, 3.0])]
    together = vad.probabilities_of(recordings)
    assert [len(values) for values in together] == [-(-len(samples) // 512) for samples in recordings]
    for values, samples in zip(together, recordings, strict=True):
        np.testing.assert_allclose(values, vad.probabilities(samples), atol=1e-6)
    assert vad.probabilities_of([]) == []


def test_one_graph_alone_does_both(tmp_path: Path, vad: SileroVad) -> None:
    samples = noise(2.0)
    for name in ("sequence", "rows"):
        folder = tmp_path / name
        folder.mkdir()
        getattr(vad_graphs, name)(folder / "vad.onnx")
        alone = SileroVad(folder)
        np.testing.assert_allclose(alone.probabilities(samples), vad.probabilities(samples), atol=1e-6)
        np.testing.assert_allclose(alone.probabilities_of([samples])[0], vad.probabilities(samples), atol=1e-6)


def test_long_recordings_run_in_blocks_with_their_state_carried_over(vad: SileroVad) -> None:
    samples = noise((2 * MAX_WINDOWS + 3.5) * 512 / 16000)
    whole = vad.probabilities(samples)
    assert len(whole) == 2 * MAX_WINDOWS + 4
    np.testing.assert_allclose(whole, vad.probabilities_of([samples])[0], atol=1e-5)


def test_each_window_sees_the_end_of_the_one_before(vad: SileroVad) -> None:
    samples = noise(0.2)
    changed = samples.copy()
    changed[511] += 0.5
    stream, other = vad.stream(), vad.stream()
    stream.push(samples[:512])
    other.push(changed[:512])
    other.states = stream.states
    assert abs(stream.push(samples[512:1024]) - other.push(changed[512:1024]))[0] > 1e-4


def test_impossible_samples_are_refused_by_their_place_in_the_stream(vad: SileroVad) -> None:
    bad = noise(0.1)
    bad[5] = np.nan
    stream = vad.stream()
    stream.push(noise(0.1))
    with pytest.raises(BadAudio, match="sample 1605"):
        stream.push(bad)
    with pytest.raises(BadAudio, match="sample 5"):
        vad.probabilities_of([noise(0.1), bad])


def test_published_graphs_hear_speech_and_agree() -> None:
    folder = installed("silero-vad")
    if folder is None:
        pytest.skip("silero-vad is not in the cache: `chorus models pull silero-vad` (11 MB) makes this test run")
    with (ROOT / "models" / "demo" / "garden.flac").open("rb") as file:
        samples = np.concatenate([block.samples[0] for block in decode(file, Encoding.FLAC)])
    vad = SileroVad(folder)
    probabilities = vad.probabilities(samples)
    np.testing.assert_allclose(probabilities, vad.probabilities_of([samples, samples[:9000]])[0], rtol=0, atol=1e-6)
    assert (probabilities > 0.5).mean() > 0.5
    assert (vad.probabilities(np.zeros(32000, np.float32)) < 0.2).all()


def test_folder_without_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="no silero-vad graph"):
        SileroVad(tmp_path)
