"""The recipes' slow reference against the server's engines: two ways to hear the same model."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import numpy_helper

pytest.importorskip("scipy")

from engines.recordings import OfflineItem
from recipes import check_quantised
from recipes.synthesis.fbank import log_mel
from recipes.transducer.evaluate import heard, word_error_rates
from recipes.u2pp.evaluate import read_units
from recipes.u2pp.score import text_of
from speech.search.transducer import TransducerOptions
from tests.engines.helpers import noise, open_model, stream

GREEDY = TransducerOptions(method="greedy_search")
GRAPHS = Path(__file__).parents[1] / "data" / "models"
END = np.zeros(400, np.float32)  # the reference adds frames of silence, the server samples


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder as recipes.transducer.export writes it: K5 and K6, features at WeNet's settings and icefall's scale."""
    folder = tmp_path_factory.mktemp("transducer")
    for half, name in {"streaming": "k5", "offline": "k6"}.items():
        shutil.copytree(GRAPHS / name, folder / half)
        (folder / half / "model.toml").write_text(
            '[features]\nprofile = "wenet"\nscale = 1.0\npad_value = -15.942385\n'
        )
    return folder


@pytest.fixture(scope="module")
def recordings():
    return [np.concatenate([noise(seconds, seed), END]) for seed, seconds in enumerate((0.3, 1.3, 2.7, 4.1))]


def test_a_streaming_transducer_is_heard_as_the_server_hears_it(model, recordings):
    engine = open_model(model / "streaming").streaming
    served = [stream(engine, samples, options=GREEDY)[0].tokens[0].tolist() for samples in recordings]
    assert max(map(len, served)) > 5, "a model that says nothing proves nothing"
    assert heard(model, "streaming", [log_mel(samples) for samples in recordings]) == served


def test_an_offline_transducer_is_heard_as_the_server_hears_it(model, recordings):
    engine = open_model(model / "offline").offline
    served = [output.nbest.tokens[0].tolist() for output in engine.run([OfflineItem(r, GREEDY) for r in recordings])]
    assert max(map(len, served)) > 5
    assert heard(model, "offline", [log_mel(samples) for samples in recordings]) == served


def test_both_halves_are_scored(model, recordings):
    rates = word_error_rates(model, [log_mel(samples) for samples in recordings], ["A B"] * len(recordings))
    assert set(rates) == {"streaming greedy", "offline greedy"}
    assert min(rates.values()) > 0


def spoil(path):
    """Turn the joiner's weights round."""
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        if numpy_helper.to_array(tensor).ndim == 2:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(graph, path)


@pytest.mark.parametrize(("is_spoilt", "status"), [(False, 0), (True, 1)])
def test_a_model_that_lost_more_than_allowed_fails_the_check(
    is_spoilt, status, model, recordings, tmp_path, monkeypatch
):
    """Recordings whose transcripts are what the first model hears in streaming."""
    units, rows = read_units(model), []
    for number, ids in enumerate(heard(model, "streaming", [log_mel(samples) for samples in recordings])):
        soundfile.write(tmp_path / f"{number}.wav", recordings[number], 16000, subtype="FLOAT")
        rows.append(f"{number}\t{text_of(ids, units)}\n")
    (tmp_path / "all.tsv").write_text("".join(rows))
    small = shutil.copytree(model, tmp_path / "small")
    if is_spoilt:
        spoil(small / "streaming" / "joiner.onnx")
    arguments = ["check", model, small, "--audio", tmp_path, "--tsv", tmp_path / "all.tsv", "--suffix", ".wav"]
    monkeypatch.setattr("sys.argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as ended:
        check_quantised.main()
    assert int(ended.value.code) == status
