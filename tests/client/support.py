"""A Recognizer without a recogniser, behind a real gRPC server: it "hears" the bytes it is sent as text."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc

WAIT_S = 60.0


@dataclass
class Call:
    """What the server saw of one call."""

    metadata: dict[str, str]
    time_left_s: float | None
    configs: list[pb.StreamingRecognitionConfig] = field(default_factory=list)
    audio: bytes = b""
    ended: threading.Event = field(default_factory=threading.Event)


Turn = Callable[[Call, Iterator[Any], grpc.ServicerContext], Iterator[pb.StreamingRecognizeResponse]]


class FakeRecognizer(rpc.RecognizerServicer):
    """Behaves as `echo`, except in the calls for which `turns` says something else, first call first."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.turns: list[Turn] = []
        self.recognized: list[pb.RecognitionConfig] = []
        self.unary_failures: list[grpc.StatusCode] = []

    def StreamingRecognize(
        self, requests: Iterator[pb.StreamingRecognizeRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamingRecognizeResponse]:
        call = _seen(context)
        self.calls.append(call)
        if not context.add_callback(call.ended.set):
            call.ended.set()
        turn = self.turns.pop(0) if self.turns else echo
        yield from turn(call, requests, context)

    def Recognize(self, request: pb.RecognizeRequest, context: grpc.ServicerContext) -> pb.RecognizeResponse:
        self.calls.append(_seen(context))
        if self.unary_failures:
            context.abort(self.unary_failures.pop(0), "as told")
        refuse(request.config, request.audio, context)
        self.recognized.append(request.config)
        results = [
            pb.SpeechRecognitionResult(alternatives=alternatives(request.audio.decode()), channel_tag=tag, end_ms=900)
            for tag in channel_tags(request.config)
        ]
        if request.config.diarization_config.enable_speaker_diarization:
            tag_in_turns(results)
        return pb.RecognizeResponse(results=results, audio_processed=0.9)

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        tiny = pb.ModelInfo(
            name="tiny", language_code="en-US", is_default=True, streaming=True, offline=True,
            methods=[pb.CTC_GREEDY, pb.ATTENTION_RESCORING], sample_rate_hertz=16000, chunk_ms=640, vocabulary_size=50,
        )  # fmt: skip
        return pb.ListModelsResponse(models=[tiny])


def echo(
    call: Call, requests: Iterator[pb.StreamingRecognizeRequest], context: grpc.ServicerContext
) -> Iterator[pb.StreamingRecognizeResponse]:
    """A partial result for each packet, a final one with words at the end, and the events around them."""
    for request in requests:
        if request.HasField("streaming_config"):
            call.configs.append(request.streaming_config)
            continue
        if not call.audio:
            yield event(pb.SpeechEvent.SPEECH_START, 40, channel_tags(call.configs[0].config)[0])
        call.audio += request.audio_content
        if call.configs[0].interim_results:
            yield result(
                call.audio.decode(errors="replace"), is_final=False, tag=channel_tags(call.configs[0].config)[0]
            )
    config = call.configs[0].config
    refuse(config, call.audio, context)
    for tag in channel_tags(config):
        if call.audio:
            yield result(call.audio.decode(), is_final=True, tag=tag)
        yield event(pb.SpeechEvent.END_OF_STREAM, 1000, tag)


def refuse(config: pb.RecognitionConfig, audio: bytes, context: grpc.ServicerContext) -> None:
    if config.model not in ("", "tiny"):
        context.abort(grpc.StatusCode.NOT_FOUND, f"no model {config.model}: there is tiny")
    if audio.startswith(b"NOISE"):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no container that is known")


def channel_tags(config: pb.RecognitionConfig) -> list[int]:
    count = config.audio_channel_count
    return [0] if count <= 1 else list(range(1, count + 1))


def result(text: str, *, is_final: bool, tag: int = 0) -> pb.StreamingRecognizeResponse:
    whole = pb.StreamingRecognitionResult(
        alternatives=alternatives(text), is_final=is_final, stability=0.5, channel_tag=tag,
        audio_processed=0.96, segment=0, start_ms=40, end_ms=900,
    )  # fmt: skip
    return pb.StreamingRecognizeResponse(results=[whole])


def alternatives(text: str) -> list[pb.SpeechRecognitionAlternative]:
    words = [
        pb.WordInfo(start_ms=100 * i, end_ms=100 * i + 80, word=word, confidence=0.75)
        for i, word in enumerate(text.split())
    ]
    return [pb.SpeechRecognitionAlternative(transcript=text.strip(), confidence=0.9, words=words, score=-1.5)]


def tag_in_turns(results: list[pb.SpeechRecognitionResult]) -> None:
    """Two words for each of two speakers in turns; the fifth and every fourth after it are nobody's."""
    for result in results:
        for index, word in enumerate(result.alternatives[0].words):
            word.speaker_tag = 0 if index % 5 == 4 else index % 5 // 2 + 1


def event(kind: pb.SpeechEvent.Type, time_ms: int, tag: int = 0) -> pb.StreamingRecognizeResponse:
    return pb.StreamingRecognizeResponse(event=pb.SpeechEvent(type=kind, time_ms=time_ms, channel_tag=tag))


def _seen(context: grpc.ServicerContext) -> Call:
    left = context.time_remaining()
    # gRPC gives decades for calls without a deadline.
    return Call(
        {key: str(value) for key, value in context.invocation_metadata()}, left if left and left < 1e6 else None
    )


@contextmanager
def serving(
    recognizer: FakeRecognizer, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> Iterator[str]:
    """Serve on a free port of the loopback; gives the address."""
    with ThreadPoolExecutor(16) as executor:
        server = grpc.server(executor)
        rpc.add_RecognizerServicer_to_server(recognizer, server)
        address = f"127.0.0.1:{port}"
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield f"127.0.0.1:{bound}"
        finally:
            server.stop(0).wait(WAIT_S)
