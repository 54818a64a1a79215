"""The Recognizer service: proto messages in, sessions and results inside, proto messages out."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import grpc

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server import convert
from server.calls import Calls
from server.convert_biasing import hotwords_report
from server.errors import IdleStream, OutOfOrder
from server.hotwords import Hotwords
from server.models import Models, ServedModel
from server.offline import OfflineRecognizer
from server.places import Places
from server.stream_call import StreamCall, streaming_options
from server.turns import one_by_one
from speech.errors import BadAudio

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it

Stream = grpc.aio.ServicerContext[pb.StreamingRecognizeRequest, pb.StreamingRecognizeResponse]


class RecognizerServicer(rpc.RecognizerServicer):
    """Implements chorus.v1.Recognizer over the loaded models."""

    def __init__(
        self,
        models: Models,
        offline: OfflineRecognizer,
        calls: Calls,
        containers: Executor,
        places: Places,
        idle_timeout_s: float,
        hotwords: Hotwords,
    ) -> None:
        """`containers` decodes streams of container formats: a thread and a place each."""
        self._models = models
        self._offline = offline
        self._containers = containers
        self._calls = calls
        self._places = places
        self._idle_timeout_s = idle_timeout_s
        self._hotwords = hotwords

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """Describe every model."""
        return pb.ListModelsResponse(
            models=[_model_info(model, model is self._models.default) for model in self._models]
        )

    async def Recognize(self, request: pb.RecognizeRequest, context: Any) -> pb.RecognizeResponse:
        """Recognise one whole piece of audio."""
        async with self._calls.call("Recognize", context) as facts:
            config = request.config
            model = self._models.find(config.model, config.language_code)
            options, hotwords = await self._hotwords.apply(model, convert.unary_options(request, model))
            results, seconds = await self._offline.recognize(model, options, request.audio)
            facts.update(model=model.name, audio_s=round(seconds, 3))
            response = pb.RecognizeResponse(audio_processed=seconds)
            if hotwords is not None:
                response.hotwords.CopyFrom(hotwords_report(hotwords.num_hotwords, hotwords.unspellable))
            for tag, result in results:
                message = convert.offline_result(replace(result, alternatives=()), tag)
                message.alternatives.extend(await one_by_one(map(convert.alternative, result.alternatives)))
                response.results.append(message)
            return response
        raise AssertionError("unreachable: the call ended with an error")

    async def StreamingRecognize(self, request_iterator: Any, context: Stream) -> None:
        """Recognise audio while it arrives."""
        async with self._calls.call("StreamingRecognize", context) as facts, AsyncExitStack() as stack:
            config = await self._first_message(context)
            model = self._models.find(config.config.model, config.config.language_code, streaming=True)
            options, hotwords = await self._hotwords.apply(model, streaming_options(config, model))
            if options.audio.encoding.is_container:
                stack.enter_context(self._places.taken())
            call = StreamCall(model, options, context.write, self._containers, self._hotwords)
            stack.push_async_callback(call.close, facts)
            call.open()  # after the line above, so that a channel without a slot gives back those before it
            await call.report(hotwords)
            await self._run(call, config, context, self._idle_timeout_s)

    async def _first_message(self, context: Stream) -> pb.StreamingRecognitionConfig:
        timeout_s = self._idle_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                first = await context.read()
        except TimeoutError:
            raise IdleStream(f"no streaming_config for {timeout_s:g} s (streaming.idle_timeout_s)") from None
        if first is END:
            raise OutOfOrder("the call ended without a streaming_config message")
        if first.WhichOneof("streaming_request") != "streaming_config":
            raise OutOfOrder("the first message must carry streaming_config, not audio_content")
        config: pb.StreamingRecognitionConfig = first.streaming_config
        return config

    async def _run(
        self, call: StreamCall, config: pb.StreamingRecognitionConfig, context: Stream, idle_timeout_s: float
    ) -> None:
        """Read until the client half-closes, an utterance is done, or nothing came for too long."""
        while (request := await self._next_message(call, context, idle_timeout_s)) is not END:
            match request.WhichOneof("streaming_request"):
                case "audio_content":
                    data = request.audio_content
                    if call.hold(data):
                        continue
                    await call.push(data)
                    if call.is_done:
                        break
                case "streaming_config":
                    config = await call.change(config, request.streaming_config)
                case _:
                    raise OutOfOrder("a message carries neither streaming_config nor audio_content")
        await call.finish()

    async def _next_message(self, call: StreamCall, context: Stream, idle_timeout_s: float) -> Any:
        """The next request, or END. Raises IdleStream, after the results of what was heard, when none came in time."""
        try:
            with call.watchdog:
                return await context.read()
        except TimeoutError:
            with suppress(BadAudio):  # a file cut short by the silence: the silence is what ended it
                await call.finish()
            raise IdleStream(
                f"no message for {idle_timeout_s:g} s (streaming.idle_timeout_s); the stream was ended"
            ) from None


def _model_info(model: ServedModel, is_default: bool) -> pb.ModelInfo:
    return pb.ModelInfo(
        name=model.name,
        language_code=model.language,
        is_default=is_default,
        streaming=model.can_stream,
        offline=model.offline_batcher is not None,
        methods=[method.upper() for method in model.methods],
        sample_rate_hertz=model.sample_rate,
        chunk_ms=model.chunk_ms,
        vocabulary_size=len(model.tokens),
        has_language_model=model.lm is not None,
    )
