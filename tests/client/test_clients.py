"""Both clients against a real gRPC server; what they share is tested on both."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from client import (
    Alternative,
    AsyncClient,
    CallFailed,
    Client,
    ClientError,
    Config,
    Decoding,
    Endpointing,
    EndpointRule,
    EventKind,
    Retry,
    SpeakerTags,
    StreamEvent,
    StreamResult,
    Word,
    transcript,
)
from client.packets import LARGEST_MESSAGE, REPLAY_BYTES
from client.results import Update, join_texts
from protos import recognizer_pb2 as pb
from speech.errors import BadOption
from speech.results import Result, SpeechEvent
from tests.client import support
from tests.client.support import WAIT_S, Call, FakeRecognizer

QUICK = Retry(attempts=4, first_delay_s=0.01, max_delay_s=0.02)


def sync_stream(address: str, audio: Any, config: Config | None = None, **settings: Any) -> list[Update]:
    with Client(address, retry=QUICK, **settings) as client:
        return list(client.stream(audio, config))


def async_stream(address: str, audio: Any, config: Config | None = None, **settings: Any) -> list[Update]:
    async def run() -> list[Update]:
        async with AsyncClient(address, retry=QUICK, **settings) as client:
            return [update async for update in client.stream(audio, config)]

    return asyncio.run(run())


Stream = Callable[..., list[Update]]
both = pytest.mark.parametrize("stream", [sync_stream, async_stream])


@both
def test_a_stream_gives_typed_results_and_events(stream: Stream, address: str) -> None:
    updates = stream(address, [b"HELLO ", b"WORLD"])
    assert all(isinstance(update, Result | SpeechEvent) for update in updates)
    assert [type(update) for update in updates] == [StreamEvent, *[StreamResult] * 3, StreamEvent]
    partial, final = updates[1], updates[3]
    assert isinstance(partial, StreamResult)
    assert isinstance(final, StreamResult)
    assert (partial.text, partial.is_final, partial.stability) == ("HELLO", False, 0.5)
    assert (final.text, final.is_final, final.stability) == ("HELLO WORLD", True, 1.0)
    assert (final.start_ms, final.end_ms, final.audio_processed_ms, final.segment) == (40, 900, 960, 0)
    assert final.words == (Word("HELLO", 0, 80, 0.75), Word("WORLD", 100, 180, 0.75))
    assert isinstance(final.alternatives[0], Alternative)
    assert updates[-1] == StreamEvent(EventKind.END, 1000, None, channel=0)


@both
def test_all_settings_reach_the_server(stream: Stream, address: str, recognizer: FakeRecognizer) -> None:
    config = Config(
        encoding="linear16",
        sample_rate=8000,
        channels=2,
        model="tiny",
        language="en-US",
        max_alternatives=3,
        word_times=True,
        token_times=True,
        interim_results=False,
        single_utterance=True,
        decoding=Decoding(method="ctc_prefix_beam", beam_size=5, ctc_weight=0.0),
        endpointing=Endpointing(rule2=EndpointRule(min_trailing_silence_ms=700, must_contain_text=True)),
    )
    stream(address, [b"A"], config, metadata=[("authorization", "Bearer x")])
    [call] = recognizer.calls
    assert call.metadata["authorization"] == "Bearer x"
    [got] = call.configs
    assert (got.interim_results, got.single_utterance) == (False, True)
    assert (got.config.encoding, got.config.sample_rate_hertz, got.config.audio_channel_count) == (pb.LINEAR16, 8000, 2)
    assert (got.config.model, got.config.language_code, got.config.max_alternatives) == ("tiny", "en-US", 3)
    assert got.config.enable_word_time_offsets
    assert got.config.enable_token_time_offsets
    assert (got.config.decoding.method, got.config.decoding.beam_size) == (pb.CTC_PREFIX_BEAM, 5)
    assert got.config.decoding.HasField("ctc_weight")
    assert not got.config.decoding.HasField("reverse_weight")
    assert got.config.endpointing_config.rule2.min_trailing_silence_ms == 700
    assert not got.config.endpointing_config.HasField("rule1")


@both
def test_audio_may_be_a_path_bytes_packets_of_any_size_and_settings_between(
    stream: Stream, address: str, recognizer: FakeRecognizer, tmp_path: Path
) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"ab" * 50_000)
    large = b"x" * (2 * LARGEST_MESSAGE + 1)
    changed = Config(interim_results=False)
    quiet = Config(interim_results=False)
    for audio in (file, str(file), file.read_bytes(), large, iter([b"a", changed, b"", b"b"])):
        stream(address, audio, quiet)
    assert [len(call.audio) for call in recognizer.calls] == [100_000, 100_000, 100_000, len(large), 2]
    assert [len(call.configs) for call in recognizer.calls] == [1, 1, 1, 1, 2]


@both
def test_wrong_packets_and_unknown_options_are_refused_by_name(stream: Stream, address: str) -> None:
    with pytest.raises(ClientError, match="got str"):
        stream(address, ["text"])
    with pytest.raises(BadOption, match=r"unknown encoding 'vox'.*linear16"):
        stream(address, [b""], Config(encoding="vox"))  # type: ignore[arg-type]
    with pytest.raises(BadOption, match=r"unknown method 'viterbi'.*ctc_greedy"):
        stream(address, [b""], Config(decoding=Decoding(method="viterbi")))  # type: ignore[arg-type]


@both
def test_the_error_of_a_source_reaches_the_caller_and_ends_the_call(
    stream: Stream, address: str, recognizer: FakeRecognizer, tmp_path: Path
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"A"
        raise ZeroDivisionError("in the source")

    with pytest.raises(ZeroDivisionError, match="in the source"):
        stream(address, broken())
    with pytest.raises(FileNotFoundError):
        stream(address, tmp_path / "none.wav")
    assert all(call.ended.wait(WAIT_S) for call in recognizer.calls)


@both
def test_a_refused_call_names_code_and_message(stream: Stream, address: str) -> None:
    with pytest.raises(CallFailed, match="NOT_FOUND no model big") as caught:
        stream(address, [b"A"], Config(model="big"))
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.message == "no model big: there is tiny"


def unavailable_at_once(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
    yield  # pragma: no cover -- makes this a generator


def unavailable_after_audio(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    next(requests)
    call.audio = next(requests).audio_content
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone before any answer")
    yield  # pragma: no cover


def unavailable_after_answer(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    next(requests)
    call.audio = next(requests).audio_content
    yield support.result("HE", is_final=False)
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone in the middle")


@both
def test_an_unavailable_server_is_asked_again_and_gets_all_the_audio(
    stream: Stream, address: str, recognizer: FakeRecognizer
) -> None:
    recognizer.turns = [unavailable_at_once, unavailable_after_audio]
    updates = stream(address, iter([b"HELLO ", b"WORLD"]))
    assert transcript(updates).text == "HELLO WORLD"
    assert recognizer.calls[-1].audio == b"HELLO WORLD"
    assert len(recognizer.calls) == 3


@both
def test_after_the_first_answer_a_call_is_never_made_again(
    stream: Stream, address: str, recognizer: FakeRecognizer
) -> None:
    recognizer.turns = [unavailable_after_answer]
    with pytest.raises(CallFailed, match="UNAVAILABLE gone in the middle"):
        stream(address, iter([b"HELLO ", b"WORLD"]))
    assert len(recognizer.calls) == 1


@both
def test_audio_too_long_to_keep_is_not_sent_again(stream: Stream, address: str, recognizer: FakeRecognizer) -> None:
    def late(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            call.audio += request.audio_content
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone after much audio")
        yield  # pragma: no cover

    recognizer.turns = [late]
    with pytest.raises(CallFailed, match="gone after much audio"):
        stream(address, [b"x" * REPLAY_BYTES, b"y"])
    assert len(recognizer.calls) == 1


@both
def test_other_failures_are_never_retried(stream: Stream, address: str, recognizer: FakeRecognizer) -> None:
    def exhausted(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot of 8 is free")
        yield  # pragma: no cover

    recognizer.turns = [exhausted]
    with pytest.raises(CallFailed, match="RESOURCE_EXHAUSTED no slot"):
        stream(address, [b"A"])
    assert len(recognizer.calls) == 1


@both
def test_attempts_end_with_the_last_failure(stream: Stream, recognizer: FakeRecognizer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening: nobody else gets the port, and no one answers
        with pytest.raises(CallFailed, match="UNAVAILABLE"):
            stream(f"127.0.0.1:{closed.getsockname()[1]}", [b"A"])


@both
def test_the_deadline_ends_a_call_that_hangs(stream: Stream, address: str, recognizer: FakeRecognizer) -> None:
    def hang(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        call.ended.wait(WAIT_S)
        yield from ()

    recognizer.turns = [hang]
    with pytest.raises(CallFailed) as caught:
        stream(address, [b"A"], timeout_s=0.2)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < (recognizer.calls[0].time_left_s or 0) < 1


def not_found_at_once(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
    yield  # pragma: no cover


def final_after_the_first_packet(call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    next(requests)
    next(requests)
    yield support.result("ENOUGH", is_final=True)


@both
def test_how_the_server_ended_is_never_lost_to_a_write_at_the_same_time(
    stream: Stream, address: str, recognizer: FakeRecognizer
) -> None:
    """grpc.aio makes INTERNAL of some of these (grpc issue 36066)."""
    for _ in range(40):
        recognizer.turns = [not_found_at_once]
        with pytest.raises(CallFailed, match="NOT_FOUND no such model"):
            stream(address, [b"x" * 1000] * 100)
        recognizer.turns = [final_after_the_first_packet]
        assert transcript(stream(address, [b"x" * 1000] * 100)).text == "ENOUGH"


def test_the_deadline_covers_all_attempts_together(address: str, recognizer: FakeRecognizer) -> None:
    recognizer.turns = [unavailable_at_once] * 50
    with Client(address, retry=Retry(attempts=50, first_delay_s=0.1)) as client, pytest.raises(CallFailed):
        list(client.stream([b"A"], timeout_s=0.3))
    assert len(recognizer.calls) < 10  # of 50


def test_waits_between_attempts_grow_up_to_a_bound() -> None:
    delays = list(Retry(attempts=6, first_delay_s=1, factor=2, max_delay_s=5).delays())
    assert delays[-1] is None
    for delay, most in zip(delays[:-1], [1, 2, 4, 5, 5], strict=True):
        assert delay is not None
        assert most / 2 <= delay <= most


def wait_for_call(recognizer: FakeRecognizer) -> Call:
    deadline = time.monotonic() + WAIT_S
    while not recognizer.calls and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    return recognizer.calls[0]


def test_leaving_a_sync_stream_cancels_the_call(address: str, recognizer: FakeRecognizer) -> None:
    forever = iter(lambda: b"A", None)
    with Client(address) as client:
        for _ in client.stream(forever):
            break
        assert wait_for_call(recognizer).ended.wait(WAIT_S)


def test_closing_an_async_stream_cancels_the_call_and_leaves_no_task(address: str, recognizer: FakeRecognizer) -> None:
    was_closed = threading.Event()

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"A"
            await asyncio.Event().wait()
        finally:
            was_closed.set()

    async def run() -> None:
        async with AsyncClient(address) as client:
            async with aclosing(client.stream(forever())) as stream:
                async for _ in stream:
                    break
            assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("chorus")]
            assert was_closed.is_set()

    asyncio.run(run())
    assert recognizer.calls[0].ended.wait(WAIT_S)


def test_cancelling_the_task_cancels_the_call(address: str, recognizer: FakeRecognizer) -> None:
    async def run() -> None:
        async with AsyncClient(address) as client:
            heard = asyncio.Event()

            async def listen() -> None:
                async for _ in client.stream(iter(lambda: b"A", None)):
                    heard.set()

            task = asyncio.create_task(listen())
            async with asyncio.timeout(WAIT_S):
                await heard.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert recognizer.calls[0].ended.wait(WAIT_S)


def test_one_sync_client_serves_many_threads(address: str) -> None:
    with Client(address) as client, ThreadPoolExecutor(8) as pool:

        def run(number: int) -> str:
            return transcript(client.stream([f"STREAM {number}".encode()])).text

        assert list(pool.map(run, range(32))) == [f"STREAM {number}" for number in range(32)]


def test_a_blocking_source_does_not_block_the_loop(address: str) -> None:
    gate = threading.Event()

    def blocking() -> Iterator[bytes]:
        yield b"A"
        assert gate.wait(WAIT_S)
        yield b"B"

    async def run() -> str:
        async with AsyncClient(address) as client:
            updates = []
            async for update in client.stream(blocking()):
                updates.append(update)
                gate.set()
            return transcript(updates).text

    assert asyncio.run(run()) == "AB"


Unary = Callable[[Any], Awaitable[Any]]


def test_unary_calls_are_retried_and_typed(address: str, recognizer: FakeRecognizer, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"HELLO WORLD")

    async def asynchronous() -> Any:
        async with AsyncClient(address, retry=QUICK) as client:
            return await client.recognize(file), await client.models()

    for run in (lambda: asyncio.run(asynchronous()), lambda: _sync_unary(address, file)):
        recognizer.unary_failures = [grpc.StatusCode.UNAVAILABLE]
        whole, models = run()
        assert whole.text == "HELLO WORLD"
        assert whole.audio_ms == 900
        assert whole.results[0].is_final
        [model] = models
        assert (model.name, model.methods, model.chunk_ms) == ("tiny", ("ctc_greedy", "attention_rescoring"), 640)
    assert len(recognizer.calls) == 4


def test_who_said_what_is_told_in_runs_of_words(address: str, recognizer: FakeRecognizer) -> None:
    config = Config(speaker_tags=SpeakerTags(speakers=2, model="tiny"))
    with Client(address, retry=QUICK) as client:
        found = client.recognize(b"HOW ARE WELL THANKS HUM", config)
    assert [(said.speaker, said.text) for said in found.said()] == [(1, "HOW ARE"), (2, "WELL THANKS"), (0, "HUM")]
    assert found.said(channel=1) == ()
    [sent] = recognizer.recognized
    assert (sent.diarization_config.speaker_count, sent.diarization_config.model) == (2, "tiny")


def _sync_unary(address: str, file: Path) -> Any:
    with Client(address, retry=QUICK) as client:
        return client.recognize(file), client.models()


def test_a_unary_failure_is_typed_and_final(address: str, recognizer: FakeRecognizer) -> None:
    with Client(address, retry=QUICK) as client, pytest.raises(CallFailed, match="INVALID_ARGUMENT no container"):
        client.recognize(b"NOISE")
    assert len(recognizer.calls) == 1


def test_channels_keep_their_texts_apart(address: str) -> None:
    found = transcript(sync_stream(address, [b"HI"], Config(encoding="linear16", sample_rate=8000, channels=2)))
    assert found.channels == (1, 2)
    assert [found.text_of(channel) for channel in found.channels] == ["HI", "HI"]


@pytest.mark.parametrize(
    ("texts", "joined"),
    [([], ""), (["A", "", "B"], "A B"), (["你好", "世界"], "你好世界"), (["你好", "OK", "世"], "你好 OK 世")],
)
def test_segments_are_joined_by_spaces_but_not_between_ideographs(texts: list[str], joined: str) -> None:
    assert join_texts(texts) == joined
