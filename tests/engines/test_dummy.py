"""The dummy model: it hears tones, in streams as in recordings, and notices mixed-up slots."""

from __future__ import annotations

import numpy as np

from engines.dummy import CONFUSED, DummyOptions, load_dummy, tone
from engines.encoder import FloatArray
from engines.load import EngineOptions
from engines.recordings import OfflineItem
from engines.streaming import StepItem
from tests.engines.helpers import BEAM, GREEDY, items, stream, windows

OPTIONS = EngineOptions(num_slots=8, max_batch=6, threads=1)


def song(letters: str, gap_s: float = 0.2) -> FloatArray:
    silence = np.zeros(int(gap_s * 16000), np.float32)
    return np.concatenate([silence, *(part for letter in letters for part in (tone(letter, 0.3), silence))])


def test_stream_of_tones_is_its_letters() -> None:
    model = load_dummy(OPTIONS)
    assert model.streaming is not None
    nbest, _, _ = stream(model.streaming, song("chorus"), options=BEAM)
    assert model.tokens.text(nbest.tokens[0].tolist()) == "chorus"


def test_every_letter_has_a_tone_of_its_own() -> None:
    model = load_dummy(OPTIONS)
    assert model.offline is not None
    letters = "abcdefghijklmnopqrstuvwxyz"
    output = model.offline.run([OfflineItem(song(letters), GREEDY)])[0]
    assert model.tokens.text(output.nbest.tokens[0].tolist()) == letters


def test_recording_equals_its_stream() -> None:
    model = load_dummy(OPTIONS)
    assert model.streaming is not None
    assert model.offline is not None
    samples = song("hello")
    nbest, _, _ = stream(model.streaming, samples, options=GREEDY)
    whole = model.offline.run([OfflineItem(samples, GREEDY)])[0].nbest
    np.testing.assert_array_equal(nbest.tokens[0], whole.tokens[0])
    assert nbest.frames == whole.frames


def test_streams_in_one_batch_stay_apart() -> None:
    model = load_dummy(OPTIONS, DummyOptions(step_ms=0.1, row_ms=0.1))
    engine = model.streaming
    assert engine is not None
    words = ["abc", "xyz", "mno"]
    plans = [items(slot, windows(engine, song(word)), GREEDY) for slot, word in enumerate(words)]
    for step in range(len(plans[0])):
        outputs = engine.run([plan[step] for plan in plans])
    assert [model.tokens.text(output.nbest.tokens[0].tolist()) for output in outputs] == words


def test_slot_that_no_stream_began_hears_question_marks() -> None:
    model = load_dummy(OPTIONS)
    engine = model.streaming
    assert engine is not None
    window = windows(engine, tone("a", 1.0))[0]
    engine.run([StepItem(0, window, True, True, GREEDY)])
    engine.close_slot(0)
    output = engine.run([StepItem(0, window, False, True, GREEDY)])[0]
    assert set(output.nbest.tokens[0].tolist()) == {CONFUSED}
