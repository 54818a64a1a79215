"""What a packet costs: nothing is awaited for one that completes no chunk, and a chunk never waits for the next one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from protos import recognizer_pb2 as pb
from server import convert
from server.app import Server, start_server
from server.config import HotwordsSettings
from server.hotwords import Hotwords
from server.models import ServedModel
from server.stream_call import StreamCall
from speech.framing import Framer
from tests.server.support import RATE, linear16, speech_like, tiny_config

SECONDS = 2.0


def default_model(server: Server) -> ServedModel:
    assert server.models.default is not None
    return server.models.default


def open_call(server: Server, threads: ThreadPoolExecutor, rate: int = RATE, channels: int = 1) -> StreamCall:
    async def write(message: pb.StreamingRecognizeResponse) -> None:
        message.SerializeToString()

    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=rate, audio_channel_count=channels)
    model = default_model(server)
    hotwords = Hotwords(HotwordsSettings(), threads)
    call = StreamCall(model, convert.recognition_options(config, model), write, threads, hotwords)
    call.open()
    return call


def chunks_of(call: StreamCall) -> int:
    return call._sessions[0].stats.chunks


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.asyncio
async def test_a_chunk_runs_with_the_packet_that_completes_it(channels: int) -> None:
    async with start_server(tiny_config()) as server:
        samples = speech_like(SECONDS)
        data = linear16(samples.repeat(channels))
        with ThreadPoolExecutor(1) as threads:
            for size in (101, 1600, 3200, 9001, 40000, len(data)):
                call = open_call(server, threads, channels=channels)
                framer = Framer(default_model(server).framing)
                done = heard = 0
                for begin in range(0, len(data), size):
                    packet = data[begin : begin + size]
                    if not call.hold(packet):
                        await call.push(packet)
                    complete = (begin + len(packet)) // (2 * channels)
                    done += len(framer.push(samples[heard:complete]))
                    heard = complete
                    assert chunks_of(call) == done, (size, begin)
                await call.finish()
                await call.close({})


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.asyncio
async def test_small_packets_are_held_until_a_chunk_is_there(rate: int) -> None:
    async with start_server(tiny_config()) as server:
        data = linear16(speech_like(SECONDS)[: int(SECONDS * RATE)])[: int(SECONDS * rate) * 2]
        with ThreadPoolExecutor(1) as threads:
            call = open_call(server, threads, rate)
            size = rate // 100 * 2  # 10 ms
            held = pushed = 0
            for begin in range(0, len(data), size):
                packet = data[begin : begin + size]
                if call.hold(packet):
                    held += 1
                else:
                    await call.push(packet)
                    pushed += 1
            chunks = chunks_of(call)
            assert chunks >= 1
            # The first packet starts the clock; a resampler's delay takes a few packets more than its ratio says.
            assert pushed <= 1 + chunks * (1 if rate == RATE else 8)
            assert held >= 0.8 * (held + pushed)
            await call.close({})
