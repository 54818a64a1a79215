from pathlib import Path

import numpy as np
import pytest

from engines.errors import BadModel
from engines.kinds import kind_of_folder
from engines.segmentation.pyannote import WINDOW, PyannoteSegmentation
from speech.diarization.powerset import decode
from tests.engines import segmentation_graphs, vad_graphs


def test_a_folder_is_known_and_its_graph_answers_frame_by_frame(tmp_path: Path) -> None:
    segmentation_graphs.by_loudness(tmp_path / "model.onnx", sample_rate="16000", window_size="160000")
    assert kind_of_folder(tmp_path) == "segmentation"
    windows = np.zeros((2, WINDOW), np.float32)
    windows[0, 40_000:80_000] = 0.1
    windows[1, 80_000:] = 0.9

    found = PyannoteSegmentation(tmp_path).log_probs(windows)

    assert found.shape == (2, 589, 7)
    first, second = (decode(0, each).flags() for each in found)
    assert not first[:, 1:].any()
    assert (np.flatnonzero(first[:, 0])[[0, -1]] * 270).tolist() == pytest.approx([40_000, 80_000], abs=1000)
    assert second[-100:, :2].all()
    assert not second[:200].any()


def test_rows_of_a_batch_are_what_they_are_alone(tmp_path: Path) -> None:
    segmentation_graphs.by_loudness(tmp_path / "model.onnx")
    windows = np.random.default_rng(0).normal(0, 0.1, (3, WINDOW)).astype(np.float32)
    model = PyannoteSegmentation(tmp_path)

    assert np.allclose(model.log_probs(windows)[1], model.log_probs(windows[1:2])[0], atol=1e-4)


def test_other_windows_and_metadata_are_refused_with_numbers(tmp_path: Path) -> None:
    segmentation_graphs.by_loudness(tmp_path / "model.onnx", window_size="80000")
    with pytest.raises(BadModel, match="window_size is 80000; only 160000 is supported"):
        PyannoteSegmentation(tmp_path)
    segmentation_graphs.by_loudness(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"shape \(1, 5\); expected \(n, 160000\)"):
        PyannoteSegmentation(tmp_path).log_probs(np.zeros((1, 5), np.float32))


def test_a_folder_without_such_a_graph_is_refused(tmp_path: Path) -> None:
    vad_graphs.sequence(tmp_path / "sequence.onnx")
    with pytest.raises(BadModel, match="no segmentation graph"):
        PyannoteSegmentation(tmp_path)
