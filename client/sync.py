"""The client for programs without an event loop, over gRPC's own sync API. The microphone, until Ctrl-C:

    from client import MICROPHONE_CONFIG, Client, StreamResult, microphone

    with Client("127.0.0.1:8001") as client:
        for update in client.stream(microphone(), MICROPHONE_CONFIG):
            if isinstance(update, StreamResult):
                print("final  " if update.is_final else "partial", update.text)

All methods may be called from any thread.
"""

import time
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc

from client import results
from client.calling import Connection
from client.config import Config, streaming_request, unary_request
from client.connection import Deadline, Metadata, wait_before_retry
from client.errors import CallFailed
from client.packets import Audio, Replay, requests
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc


class Client(Connection):
    """Recognition over a connection to one server; arguments, retries and errors are those of AsyncClient."""

    @cached_property
    def _stub(self) -> Any:
        stub: Any = recognizer_pb2_grpc.RecognizerStub
        return stub(self._channel)

    def stream(
        self,
        audio: Audio,
        config: Config | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> Generator[results.Update, None, None]:
        """Send `audio` as it comes and yield results and events as they come; leaving the loop cancels the call.

        `audio` is a path, bytes, or an iterable of packets, which gRPC reads on a thread of its own. Raises
        CallFailed, and whatever `audio` raises.
        """
        deadline = self._deadline(timeout_s)
        first = streaming_request(config or Config())
        source = Replay(requests(audio))
        for delay in self._retry.delays():
            try:
                yield from self._attempt(first, source, deadline, metadata)
                return
            except grpc.RpcError as error:
                if source.failure is not None:
                    raise source.failure from None
                wait_s = wait_before_retry(CallFailed.of(error), delay, deadline, can_repeat=source.can_repeat)
            time.sleep(wait_s)

    def recognize(
        self,
        audio: bytes | str | Path,
        config: Config | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> results.Transcript:
        """Recognise a whole recording, given as bytes or as the path of a file. Raises CallFailed, OSError."""
        content = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
        request = unary_request(config or Config(), content)
        return results.from_recognize_response(self._call(self._stub.Recognize, request, timeout_s, metadata))

    def models(self, *, timeout_s: float | None = None, metadata: Metadata = ()) -> tuple[results.Model, ...]:
        """List the server's models. Raises CallFailed."""
        response = self._call(self._stub.ListModels, pb.ListModelsRequest(), timeout_s, metadata)
        return tuple(results.from_model_info(info) for info in response.models)

    def _attempt(
        self, first: pb.StreamingRecognizeRequest, source: Replay, deadline: Deadline, metadata: Metadata
    ) -> Iterator[results.Update]:
        calls: SimpleQueue[grpc.Call] = SimpleQueue()
        messages = _messages(first, source, calls)
        call = self._stub.StreamingRecognize(messages, timeout=deadline.left(), metadata=self._join(metadata))
        calls.put(call)
        try:
            for response in call:
                source.accepted()
                yield from results.from_response(response)
        finally:
            call.cancel()
        if source.failure is not None:
            raise source.failure


def _messages(
    first: pb.StreamingRecognizeRequest, source: Replay, calls: "SimpleQueue[grpc.Call]"
) -> Iterator[pb.StreamingRecognizeRequest]:
    """Give one attempt's messages. Runs on gRPC's thread; a failing source cancels the call that `calls` will hold.

    Raising instead would make gRPC log a traceback of what the caller gets as an exception anyway.
    """
    yield first
    yield from source.attempt()
    if source.failure is not None:
        calls.get().cancel()  # type: ignore[no-untyped-call]  # a hole in grpc-stubs
