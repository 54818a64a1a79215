"""Reading a segment's second pass in the pause before its endpoint: when it is begun, and when it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from batcher.errors import Overloaded, QueueTimeout
from engines.rescoring import RescoreItem
from protos import recognizer_pb2 as pb
from server.app import Server
from server.read_ahead import ReadAhead, silence_before_endpoint
from speech.endpoint import EndpointConfig, EndpointRule
from speech.recognition import SegmentEnd
from speech.search.nbest import Nbest
from tests.server.support import RATE, finals, linear16, packets, running, stream, tiny_config

pytestmark = pytest.mark.asyncio
EMBEDDED = Path(__file__).parents[2] / "models" / "english-u2pp"
DEMO = Path(__file__).parents[2] / "models" / "demo"


def segment(*tokens: int, start: int = 0, trailing: int = 10) -> SegmentEnd:
    rows = (np.array(tokens, np.int32), np.array([9], np.int32))
    nbest = Nbest(rows, -np.arange(2.0), rows, tuple(np.ones(len(row), np.float32) for row in rows), trailing, 50)
    return SegmentEnd(nbest, np.zeros((50, 4), np.float32), 0, start, None)


class Reader:
    """Counts what it is given; what it says can be held back."""

    def __init__(self) -> None:
        self.begun: list[RescoreItem] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, item: RescoreItem) -> Nbest:
        self.begun.append(item)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return item.nbest

    def ahead(self) -> ReadAhead:
        return ReadAhead(self)


def begin(ahead: ReadAhead, said: SegmentEnd) -> RescoreItem:
    assert said.history is not None
    item = RescoreItem(said.history, said.nbest, second_pass=True)
    ahead.begin(said, item)
    return item


async def test_what_was_read_stands_when_nothing_was_heard_since() -> None:
    reader = Reader()
    ahead = reader.ahead()
    item = begin(ahead, segment(1, 2))
    begin(ahead, segment(1, 2, trailing=26))  # the next chunk was silent
    assert await ahead.result(segment(1, 2, trailing=42)) is item.nbest
    assert reader.begun == [item]
    assert await ahead.result(segment(1, 2)) is None  # it is given out once


async def test_what_waits_for_its_turn_loses_it_when_more_is_heard() -> None:
    reader = Reader()
    ahead = reader.ahead()
    reader.go.clear()
    begin(ahead, segment(1, 2))
    await asyncio.sleep(0)
    later = begin(ahead, segment(1, 2, 3))
    await asyncio.sleep(0)
    assert reader.cancelled == 1
    reader.go.set()
    assert await ahead.result(segment(1, 2, 3)) is later.nbest


async def test_another_text_and_another_segment_are_not_what_was_read() -> None:
    ahead = Reader().ahead()
    begin(ahead, segment(1, 2))
    assert await ahead.result(segment(1, 4)) is None
    begin(ahead, segment(1, 2))
    assert await ahead.result(segment(1, 2, start=50)) is None  # the same words, said again


@pytest.mark.parametrize("error", [QueueTimeout(20.0), Overloaded(4, 4)])
async def test_where_there_was_no_turn_the_end_asks_again(error: Exception) -> None:
    async def refuse(item: RescoreItem) -> Nbest:
        raise error

    ahead = ReadAhead(refuse)
    begin(ahead, segment(1))
    assert await ahead.result(segment(1)) is None


async def test_a_caller_who_goes_takes_the_reading_along() -> None:
    reader = Reader()
    reader.go.clear()
    ahead = reader.ahead()
    begin(ahead, segment(1))
    waiting = asyncio.create_task(ahead.result(segment(1)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert reader.cancelled == 1


@pytest.mark.parametrize(
    ("endpoint", "silence_ms"),
    [
        (EndpointConfig(), 360),
        (EndpointConfig(rule2=EndpointRule(min_trailing_silence_ms=500)), 300),
        (EndpointConfig(rule2=EndpointRule(min_trailing_silence_ms=2000)), 1360),
        (EndpointConfig(rule2=None), None),
        (EndpointConfig(enabled=False), None),
    ],
)
async def test_how_much_silence_it_takes(endpoint: EndpointConfig, silence_ms: int | None) -> None:
    assert silence_before_endpoint(endpoint, chunk_ms=640) == silence_ms


def demo_audio() -> np.ndarray:
    """Two sentences, with 1.6 s of silence behind each: (n,) float32."""
    silence = np.zeros(int(1.6 * RATE), np.float32)
    names = sorted(path for path in DEMO.iterdir() if path.suffix == ".flac")[:2]
    return np.concatenate([part for path in names for part in (soundfile.read(path, dtype="float32")[0], silence)])


def submitted(server: Server) -> int:
    model = server.models.default
    assert model is not None
    assert model.rescoring_batcher is not None
    return model.rescoring_batcher.stats.submitted


async def test_a_served_stream_is_read_once_whatever_the_packets() -> None:
    audio = linear16(demo_audio())
    texts, readings = {}, {}
    for read_ahead in (True, False):
        settings = {"rescoring": {"read_ahead": read_ahead}}
        async with running(tiny_config(EMBEDDED, **settings)) as (server, stub):
            texts[read_ahead] = finals(await stream(stub, [audio], interim_results=False))
            readings[read_ahead] = submitted(server)
            cut = await stream(stub, packets(audio, range(0, len(audio), 3001)), interim_results=False)
            assert finals(cut) == texts[read_ahead]
    assert len(texts[True]) == 2
    assert texts[True] == texts[False]
    assert readings[True] < readings[False] * 2  # most were begun for good


async def test_methods_without_a_second_pass_read_nothing_ahead() -> None:
    audio = linear16(demo_audio())
    async with running(tiny_config(EMBEDDED)) as (server, stub):
        rescoring = pb.DecodingConfig(method=pb.ATTENTION_RESCORING)
        texts = finals(await stream(stub, [audio], decoding=rescoring))
        assert submitted(server) == len(texts) == 2
