"""The Speaker service as a part of the server: beside recognisers or alone, health, reflection, metrics, models."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from engines.errors import BadModel
from protos import recognizer_pb2, recognizer_pb2_grpc
from protos import speaker_pb2 as pb
from server.app import start_server
from server.config import load_config
from server.errors import StartFailed
from server.speaker.batching import fill_groups
from tests.server.speaker.support import THREE_D, WESPEAKER, embed_request, folder_of, refused, speaking, voice

STATES = health_pb2.HealthCheckResponse


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    state: int = (await health_pb2_grpc.HealthStub(channel).Check(request)).status
    return state


@pytest.mark.asyncio
async def test_a_server_with_speaker_models_alone_serves_them_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = folder_of(tmp_path, WESPEAKER, THREE_D)
    tree = {"models": str(folder), "listen": {"port": 0}, "metrics": {"port": port}, "log": {"level": "error"}}
    async with (
        start_server(load_config(environment={}, overrides=tree)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        assert await health_of(channel, "") == STATES.SERVING
        assert await health_of(channel, "chorus.v1.Speaker") == STATES.SERVING
        assert await health_of(channel, "chorus.v1.Recognizer") == STATES.NOT_SERVING
        recognizer = recognizer_pb2_grpc.RecognizerStub(channel)
        assert not (await recognizer.ListModels(recognizer_pb2.ListModelsRequest())).models
        audio = recognizer_pb2.RecognizeRequest(
            config=recognizer_pb2.RecognitionConfig(encoding=recognizer_pb2.LINEAR16, sample_rate_hertz=16000)
        )
        assert (await refused(recognizer.Recognize(audio)))[0] is grpc.StatusCode.NOT_FOUND

        embed = channel.unary_unary(  # as ghz or grpcurl would: by name, with the messages reflection gives
            "/chorus.v1.Speaker/Embed",
            request_serializer=pb.EmbedRequest.SerializeToString,
            response_deserializer=pb.EmbedResponse.FromString,
        )
        await embed(embed_request(voice(1.0, 1)))
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        [listed] = [each async for each in reflection.ServerReflectionInfo(iter(asked))]
        assert "chorus.v1.Speaker" in [each.name for each in listed.list_services_response.service]

        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        )
        assert 'chorus_calls_total{method="Embed",status="OK"} 1.0' in page
        assert f'chorus_batch_items_done_total{{batcher="embedding",model="{THREE_D}"}} 1.0' in page
        assert 'chorus_audio_seconds_total{method="Embed"} 1.0' in page


@pytest.mark.asyncio
async def test_recognisers_and_speaker_models_of_one_folder_are_served_side_by_side(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER, "w2")) as (server, stub):
        assert [model.name for model in server.models] == ["w2"]
        [info] = (await stub.ListSpeakerModels(pb.ListSpeakerModelsRequest())).models
        assert (info.name, info.is_default, info.dimension, info.family) == (WESPEAKER, True, 32, "wespeaker")
        assert (info.sample_rate_hertz, info.min_audio_ms, info.has_vad) == (16000, 45, False)
        assert 0 < info.threshold < 1


@pytest.mark.asyncio
async def test_a_server_without_speaker_models_says_how_to_get_one(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, "w2")) as (_, stub):
        code, details = await refused(stub.Embed(embed_request(voice(1.0, 1))))
        assert code is grpc.StatusCode.NOT_FOUND
        assert "no speaker model; `chorus models pull campplus`" in details


@pytest.mark.asyncio
async def test_an_unknown_default_model_stops_the_start(tmp_path: Path) -> None:
    complaint = "speaker.default_model 'x' is not among the speaker models: speaker-wespeaker"
    with pytest.raises(StartFailed, match=complaint):
        async with speaking(folder_of(tmp_path, WESPEAKER), default_model="x"):
            pass


@pytest.mark.asyncio
async def test_the_provider_that_was_asked_for_runs_the_networks_or_the_start_says_what_there_is(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path, WESPEAKER)
    tree = {"models": str(folder), "listen": {"port": 0}, "log": {"level": "error"}, "speaker": {"gallery": ""}}
    absent = {**tree, "engine": {"provider": "NoSuchExecutionProvider"}}
    with pytest.raises(BadModel, match=r"^this ONNX Runtime has no provider NoSuch.*; it has .*CPUExecutionProvider"):
        async with start_server(load_config(environment={}, overrides=absent)):
            pass
    # Present in every build, and without a service of its own it leaves all operators to the processor.
    other = {**tree, "engine": {"provider": "AzureExecutionProvider"}}
    async with start_server(load_config(environment={}, overrides=other)) as server:
        [model] = server.speakers
        assert model.engine.embed([model.engine.features(voice(1.0, 1))]).shape == (1, 32)


def test_nobody_is_filled_by_more_than_the_bound() -> None:
    lengths = dict(enumerate([98, 100, 148, 120, 298, 100]))
    assert fill_groups(lengths, 0.0) == [[4], [2], [3], [1, 5], [0]]
    for bound in (0.1, 0.2, 0.5):
        groups = fill_groups(lengths, bound)
        assert sorted(index for group in groups for index in group) == list(range(6))
        for group in groups:
            longest = max(lengths[index] for index in group)
            assert all(1 - lengths[index] / longest <= bound for index in group)
