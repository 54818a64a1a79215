"""The asyncio client: streams, whole recordings, the list of models. A file, streamed:

    import asyncio
    from client import AsyncClient, Config, StreamResult

    async def main() -> None:
        async with AsyncClient("127.0.0.1:8001") as client:
            async for update in client.stream("speech.wav", Config(word_times=True)):
                if isinstance(update, StreamResult):
                    print("final  " if update.is_final else "partial", update.text)

    asyncio.run(main())

`client/sync.py` has the same for programs without an event loop.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc

from client import results
from client.calling import AsyncConnection
from client.config import Config, streaming_request, unary_request
from client.connection import Metadata, wait_before_retry
from client.errors import CallFailed
from client.packets import AsyncAudio, AsyncReplay, async_requests
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc

Request: TypeAlias = pb.StreamingRecognizeRequest
_Response: TypeAlias = pb.StreamingRecognizeResponse
_StreamCall: TypeAlias = "grpc.aio.StreamStreamCall[Request, _Response]"
T = TypeVar("T")


class AsyncClient(AsyncConnection):
    """Recognition over a connection to one server; arguments, retries and errors are those of AsyncConnection."""

    @cached_property
    def _stub(self) -> Any:
        stub: Any = recognizer_pb2_grpc.RecognizerStub
        return stub(self._channel)

    async def stream(
        self,
        audio: AsyncAudio,
        config: Config | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncGenerator[results.Update, None]:
        """Send `audio` as it comes and yield results and events as they come.

        `audio` is a path, bytes, or an iterable of packets (sync ones are read on a thread); a Config among the
        packets changes what may change in mid-stream. Closing the generator (leave it by `contextlib.aclosing`) or
        cancelling the task cancels the call. Raises CallFailed, and whatever `audio` raises.
        """
        deadline = self._deadline(timeout_s)
        first = streaming_request(config or Config())
        async with aclosing(AsyncReplay(async_requests(audio))) as source:
            for delay in self._retry.delays():
                call = self._stub.StreamingRecognize(timeout=deadline.left(), metadata=self._join(metadata))
                try:
                    async with aclosing(_answers(call, first, source)) as responses:
                        async for response in responses:
                            for update in results.from_response(response):
                                yield update
                    return
                except CallFailed as failure:
                    wait_s = wait_before_retry(failure, delay, deadline, can_repeat=source.can_repeat)
                await asyncio.sleep(wait_s)

    async def recognize(
        self,
        audio: bytes | str | Path,
        config: Config | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> results.Transcript:
        """Recognise a whole recording, given as bytes or as the path of a file. Raises CallFailed, OSError."""
        content = audio if isinstance(audio, bytes) else await asyncio.to_thread(Path(audio).read_bytes)
        request = unary_request(config or Config(), content)
        response = await self._call(self._stub.Recognize, request, timeout_s, metadata)
        return results.from_recognize_response(response)

    async def models(self, *, timeout_s: float | None = None, metadata: Metadata = ()) -> tuple[results.Model, ...]:
        """List the server's models. Raises CallFailed."""
        response = await self._call(self._stub.ListModels, pb.ListModelsRequest(), timeout_s, metadata)
        return tuple(results.from_model_info(info) for info in response.models)


async def _answers(call: _StreamCall, first: Request, source: AsyncReplay) -> AsyncGenerator[_Response, None]:
    """Yield the answers of one attempt while a task of its own sends the audio."""
    ending = _Ending(call)
    async with _sending(call, first, source):
        try:
            async for response in call:
                source.accepted()
                yield response
        except asyncio.CancelledError:
            # A failed source cancelled the call, or the caller us.
            if source.failure is None:
                raise
        except grpc.aio.AioRpcError as error:
            await ending.check(error)
    if source.failure is not None:
        raise source.failure


@asynccontextmanager
async def _sending(call: _StreamCall, first: Request, source: AsyncReplay) -> AsyncIterator[None]:
    """Send in the background; on leaving, neither the call nor the sender goes on."""
    sender = asyncio.create_task(_send(call, first, source), name="chorus-send-audio")
    try:
        yield
    finally:
        call.cancel()
        sender.cancel()
        await asyncio.wait([sender])


async def _send(call: _StreamCall, first: Request, source: AsyncReplay) -> None:
    """Send the settings and the audio; a failed source cancels the call."""
    # A call that ended fails its writer in one of these ways; its reader knows why.
    with suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
        await call.write(first)
        async with aclosing(source.attempt()) as requests:
            async for request in requests:
                await call.write(request)
        if source.failure is not None:
            call.cancel()
        else:
            await call.done_writing()


class _Ending:
    """Knows how the server ended a call, also where grpc.aio forgets it.

    When the server ends a call while we write, the failed write replaces the server's status by INTERNAL, just before
    or just after that status arrives (grpc issue 36066, open as of grpcio 1.85). A done callback sees both.
    """

    MASK = "Internal error from Core"
    # A status that is on its way is here at once; where none will come, the mask is all there is.
    WAIT_S = 1.0

    def __init__(self, call: _StreamCall) -> None:
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._known = asyncio.Event()
        call.add_done_callback(self._note)

    async def check(self, error: grpc.aio.AioRpcError) -> None:
        """Raise CallFailed for `error`, or for what it hides; return where it hides an OK."""
        if error.details() != self.MASK:
            raise CallFailed.of(error) from error
        with suppress(TimeoutError):
            async with asyncio.timeout(self.WAIT_S):
                await self._known.wait()
        code, details = self._status or (error.code(), self.MASK)
        if code is not grpc.StatusCode.OK:
            raise CallFailed(code, details) from error

    def _note(self, call: Any) -> None:
        code, details = _result_of(call.code()), _result_of(call.details())
        if details != self.MASK:
            self._status = code, details
            self._known.set()


def _result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for, as those of a call that is done."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a done call knows its status without waiting")
