"""Speaker models of all three families: what a folder is found to be, and what an engine makes of audio."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.errors import BadModel
from engines.kinds import kind_of_folder
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from engines.speaker.lengths import equal_lengths, repeat_to
from recipes.speaker.record_references import SHERPA_METADATA, samples
from speech.errors import AudioTooShort, BadAudio, BadOption
from speech.features import PROFILES
from tests.engines.helpers import noise

MODELS = Path(__file__).parents[1] / "data" / "models"
FAMILIES = {"speaker-wespeaker": 32, "speaker-3dspeaker": 24, "speaker-sherpa": 16}


def engine(name: str) -> SpeakerEngine:
    return open_speaker(inspect_speaker(MODELS / name))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize(("name", "dimension"), FAMILIES.items())
def test_each_family_is_recognised_and_its_size_read_from_the_graph(name: str, dimension: int) -> None:
    description = inspect_speaker(MODELS / name)
    assert kind_of_folder(MODELS / name) == "speaker"
    assert description.problems == ()
    assert (description.dimension, description.min_frames, description.is_batchable) == (dimension, 3, True)
    embeddings = engine(name).embed([engine(name).features(noise(1.0))])
    assert embeddings.shape == (1, dimension)
    assert embeddings.dtype == np.float32


def test_front_end_is_the_familys() -> None:
    families = {name: inspect_speaker(MODELS / name) for name in FAMILIES}
    assert families["speaker-wespeaker"].fbank == PROFILES["wespeaker"]
    assert families["speaker-3dspeaker"].fbank == PROFILES["3d-speaker"]
    assert families["speaker-sherpa"].fbank == PROFILES["sherpa-onnx-speaker"]
    assert all(description.subtract_mean for description in families.values())


def test_sherpa_metadata_decide_scale_and_mean(tmp_path: Path) -> None:
    model = onnx.load(MODELS / "speaker-sherpa" / "model.onnx")
    onnx.helper.set_model_props(model, {"framework": "wespeaker", "normalize_samples": "0", "sample_rate": "16000"})
    onnx.save(model, tmp_path / "model.onnx")
    description = inspect_speaker(tmp_path)
    assert description.fbank.scale == 32768.0
    assert not description.subtract_mean
    assert open_speaker(description).features(noise(0.5)).mean() > 1.0


@pytest.mark.parametrize("name", SHERPA_METADATA)
def test_sherpa_family_embeds_as_sherpa_onnx_does(tmp_path: Path, name: str) -> None:
    expected = np.load(MODELS.parent / "speaker" / "sherpa.npz")[name]
    model = onnx.load(MODELS / "speaker-sherpa" / "model.onnx")
    metadata = {each.key: each.value for each in model.metadata_props} | SHERPA_METADATA[name]
    onnx.helper.set_model_props(model, {key: value for key, value in metadata.items() if value})
    onnx.save(model, tmp_path / "model.onnx")
    tiny = open_speaker(inspect_speaker(tmp_path))
    assert expected.std() > 0.1
    np.testing.assert_allclose(tiny.embed([tiny.features(samples()[0, 0])])[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"FrameExtractionOptions": {"window_type": "sine"}}', "window_type is 'sine'"),
        ('{"FrameExtractionOptions": {"sample_freq": 4000}}', "sample_rate"),
        ('{"MelBanksOptions": 3}', "expected an object"),
        ("[]", "expected an object"),
        ("{", "not JSON"),
        ('{"use_power": false}', "only power spectra"),
    ],
)
def test_unusable_runtime_settings_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    shutil.copy(MODELS / "speaker-3dspeaker" / "model.onnx", tmp_path)
    (tmp_path / "fbank_config.json").write_text(text)
    with pytest.raises(BadModel, match=message):
        inspect_speaker(tmp_path)


def test_runtime_settings_of_3d_speaker_are_read_and_dither_never_added(tmp_path: Path) -> None:
    shutil.copy(MODELS / "speaker-3dspeaker" / "model.onnx", tmp_path)
    frames = {"window_type": "hamming", "frame_shift_ms": 12.5, "sample_freq": 16000.0}
    settings = {"FrameExtractionOptions": frames, "MelBanksOptions": {}}
    (tmp_path / "fbank_config.json").write_text(json.dumps(settings))
    description = inspect_speaker(tmp_path)
    assert (description.fbank.window, description.fbank.frame_shift_ms) == ("hamming", 12.5)
    assert any("dither" in note for note in description.notes)
    two = [open_speaker(description).features(noise(1.0)) for _ in range(2)]
    assert np.array_equal(two[0], two[1])


def test_model_toml_has_the_last_word(tmp_path: Path) -> None:
    shutil.copy(MODELS / "speaker-wespeaker" / "model.onnx", tmp_path / "voice.onnx")
    (tmp_path / "model.toml").write_text(
        'name = "voices"\n[features]\nprofile = "3d-speaker"\n'
        '[speaker]\nmodel = "voice.onnx"\nthreshold = 0.61\nsubtract_mean = false\nidentity = "weights-1"\n'
    )
    description = inspect_speaker(tmp_path)
    assert (description.name, description.threshold, description.identity) == ("voices", 0.61, "weights-1")
    assert description.fbank == PROFILES["3d-speaker"]
    assert not description.subtract_mean


def test_bins_that_the_graph_does_not_take_are_a_problem(tmp_path: Path) -> None:
    shutil.copy(MODELS / "speaker-wespeaker" / "model.onnx", tmp_path)
    (tmp_path / "model.toml").write_text("[features]\nnum_bins = 40\n")
    description = inspect_speaker(tmp_path)
    assert any("takes 80 mel bins" in problem for problem in description.problems)
    with pytest.raises(BadModel, match="takes 80 mel bins"):
        open_speaker(description)


def test_folder_without_a_speaker_graph_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="one input"):
        inspect_speaker(MODELS / "w1")
    with pytest.raises(BadModel, match="no such folder"):
        inspect_speaker(tmp_path / "missing")
    assert kind_of_folder(MODELS / "w1") == kind_of_folder(MODELS / "w4-offline") == "recogniser"


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_a_batch_are_what_they_are_alone(name: str) -> None:
    model = engine(name)
    features = [model.features(noise(seconds, seed)) for seed, seconds in enumerate([1.0, 2.0, 1.0, 0.5, 2.0] * 3)]
    together = model.embed(features)
    for row, each in zip(together, features, strict=True):
        assert cosine(row, model.embed([each])[0]) > 0.999999


def test_concurrent_callers_get_their_own_results() -> None:
    model = engine("speaker-wespeaker")
    features = [model.features(noise(0.5 + 0.1 * (seed % 4), seed)) for seed in range(24)]
    alone = [model.embed([each])[0] for each in features]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda each: model.embed([each])[0], features * 4))
    for index, result in enumerate(results):
        np.testing.assert_allclose(result, alone[index % 24], atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("num_samples", [0, 1, 399, 400, 719, 720, 1200])
def test_short_audio_is_refused_with_the_length_that_would_do_and_never_gives_nan(name: str, num_samples: int) -> None:
    model = engine(name)
    audio = noise(1.0)[:num_samples]
    if num_samples < model.min_samples:
        with pytest.raises(AudioTooShort, match=f"{num_samples} samples of audio.*at least {model.min_samples}"):
            model.features(audio)
    else:
        assert np.isfinite(model.embed([model.features(audio)])).all()


def test_shortest_audio_is_three_frames() -> None:
    assert engine("speaker-wespeaker").min_samples == 720
    assert engine("speaker-sherpa").min_samples == 400


def test_silence_and_clipping_give_finite_embeddings() -> None:
    model = engine("speaker-3dspeaker")
    for audio in (np.zeros(16000, np.float32), np.sign(noise(1.0)).astype(np.float32)):
        assert np.isfinite(model.embed([model.features(audio)])).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
def test_impossible_samples_are_refused_by_position(bad: float) -> None:
    audio = noise(1.0)
    audio[777] = bad
    with pytest.raises(BadAudio, match="sample 777"):
        engine("speaker-wespeaker").features(audio)


def test_fingerprint_changes_with_weights_and_with_front_end_and_with_nothing_else(tmp_path: Path) -> None:
    shutil.copy(MODELS / "speaker-wespeaker" / "model.onnx", tmp_path)
    first = open_speaker(inspect_speaker(tmp_path)).fingerprint
    assert first == engine("speaker-wespeaker").fingerprint
    assert len(first) == 16
    (tmp_path / "model.toml").write_text('name = "other name"\n[speaker]\nthreshold = 0.3\n')
    assert open_speaker(inspect_speaker(tmp_path)).fingerprint == first
    (tmp_path / "model.toml").write_text('[features]\nwindow = "povey"\n')
    assert open_speaker(inspect_speaker(tmp_path)).fingerprint != first
    (tmp_path / "model.toml").write_text("[features]\ndither = 1.0\n")
    assert open_speaker(inspect_speaker(tmp_path)).fingerprint != first
    (tmp_path / "model.toml").unlink()
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.initializer[0].raw_data = bytes(reversed(model.graph.initializer[0].raw_data))
    onnx.save(model, tmp_path / "model.onnx")
    assert inspect_speaker(tmp_path).identity != inspect_speaker(MODELS / "speaker-wespeaker").identity


def test_front_ends_keep_the_fingerprints_that_galleries_hold() -> None:
    found = {name: engine(name).front_end.fingerprint for name in FAMILIES}
    assert found == {"speaker-wespeaker": "7408b125", "speaker-3dspeaker": "197429b7", "speaker-sherpa": "1069014f"}


def test_equal_lengths_groups_everything_once_and_never_mixes() -> None:
    lengths = [5, 3, 5, 5, 4, 3, 5]
    batches = equal_lengths(lengths, 2)
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert all(len(batch) <= 2 and len({lengths[row] for row in batch}) == 1 for batch in batches)
    assert len(batches) == 4


def test_filling_repeats_rows_from_the_first() -> None:
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert repeat_to(features, 5).tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
    with pytest.raises(BadOption, match="cannot be repeated"):
        repeat_to(features, 2)
