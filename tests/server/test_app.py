"""The parts around the calls: TLS, Prometheus numbers, clients that do not read, several models."""

from __future__ import annotations

import asyncio
import shutil
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server import convert
from server.app import start_server
from server.config import HotwordsSettings
from server.errors import IdleStream, StartFailed, UnknownModel
from server.hotwords import Hotwords
from server.housekeeping import check_integrity
from server.stream_call import StreamCall
from speech.search.options import SearchOptions
from speech.search.transducer import TransducerOptions
from tests.server.support import DATA, eventually, linear16, running, speech_like, stream, tiny_config

TLS = DATA / "tls"


@pytest.mark.asyncio
async def test_tls_serves_those_who_trust_it_and_nobody_else() -> None:
    listen = {"tls_certificate": str(TLS / "certificate.pem"), "tls_key": str(TLS / "key.pem")}
    async with start_server(tiny_config(listen=listen)) as server:
        trusted = grpc.ssl_channel_credentials((TLS / "certificate.pem").read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{server.port}", trusted) as channel:
            assert (await rpc.RecognizerStub(channel).ListModels(pb.ListModelsRequest())).models
        async with grpc.aio.insecure_channel(server.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await rpc.RecognizerStub(channel).ListModels(pb.ListModelsRequest(), timeout=3)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.asyncio
async def test_an_ipv6_address_can_be_called_as_it_is_printed() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
    async with start_server(tiny_config(listen={"host": "::1"})) as server:
        assert server.address == f"[::1]:{server.port}"
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert (await rpc.RecognizerStub(channel).ListModels(pb.ListModelsRequest(), timeout=20)).models


@pytest.mark.asyncio
async def test_half_a_tls_setting_stops_the_start() -> None:
    with pytest.raises(StartFailed, match=r"tls_certificate and listen\.tls_key go together"):
        async with start_server(tiny_config(listen={"tls_key": str(TLS / "key.pem")})):
            pass


@pytest.mark.asyncio
async def test_metrics_count_calls_batches_slots_and_loop_lag() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with running(tiny_config(metrics={"port": port})) as (server, stub):
        await stream(stub, [linear16(speech_like(1.0))])
        registry = server.metrics.registry
        await eventually(lambda: bool(registry.get_sample_value("chorus_event_loop_lag_seconds_count")))
        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        )
    assert 'chorus_calls_total{method="StreamingRecognize",status="OK"} 1.0' in page
    assert 'chorus_slots{model="w2",state="free"} 8.0' in page
    assert 'chorus_batch_items_done_total{batcher="steps-0",model="w2"}' in page
    lag = next(line for line in page.splitlines() if line.startswith("chorus_event_loop_lag_seconds_count"))
    assert float(lag.split()[1]) >= 1


@pytest.mark.asyncio
async def test_a_client_that_never_reads_loses_its_slot() -> None:
    async def never(message: pb.StreamingRecognizeResponse) -> None:
        await asyncio.Event().wait()

    async with running(tiny_config(streaming={"idle_timeout_s": 0.05})) as (server, _):
        with ThreadPoolExecutor(1) as threads:
            config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000)
            model = server.models.default
            hotwords = Hotwords(HotwordsSettings(), threads)
            call = StreamCall(model, convert.recognition_options(config, model), never, threads, hotwords)
            with pytest.raises(IdleStream, match=r"no result was read for 0\.05 s"):
                await call.push(linear16(speech_like(2.0)))
            await call.close({})


def beam(model: Any, kind: type[SearchOptions | TransducerOptions], **decoding: Any) -> int:
    """How many hypotheses or paths a request with this `decoding` gets, which is of the search named."""
    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000)
    config.decoding.CopyFrom(pb.DecodingConfig(**decoding))
    search = convert.recognition_options(config, model).decoding.search
    assert isinstance(search, kind)
    return search.beam_size


@pytest.mark.asyncio
async def test_a_model_says_how_many_hypotheses_it_rescores(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "models" / "w2", tmp_path / "wide")
    (folder / "model.toml").write_text(
        '[streaming]\nencoder = "encoder.onnx"\n[decoder]\npath = "decoder.onnx"\nbeam_size = 20\n'
    )
    async with start_server(tiny_config(tmp_path)) as server:
        model = server.models.default
        assert beam(model, SearchOptions, method=pb.ATTENTION_RESCORING) == 20
        assert beam(model, SearchOptions, method=pb.ATTENTION_RESCORING, beam_size=3) == 3
        assert beam(model, SearchOptions, method=pb.CTC_PREFIX_BEAM) == 10


@pytest.mark.asyncio
async def test_a_transducer_says_how_many_paths_it_wants(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "models" / "k2", tmp_path / "wide")
    graphs = {kind: next(folder.glob(f"{kind}*.onnx")).name for kind in ("encoder", "decoder", "joiner")}
    (folder / "model.toml").write_text(
        f'[streaming]\nencoder = "{graphs["encoder"]}"\n'
        f'[transducer]\ndecoder = "{graphs["decoder"]}"\njoiner = "{graphs["joiner"]}"\nbeam_size = 9\n'
    )
    async with start_server(tiny_config(tmp_path)) as server:
        model = server.models.default
        assert beam(model, TransducerOptions) == 9
        assert beam(model, TransducerOptions, method=pb.MODIFIED_BEAM_SEARCH, beam_size=2) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("folder", "silence_ms"), [("w2", 1000), ("k2", 1200), ("k3-streaming", 1200)])
async def test_endpoint_rules_are_those_of_the_project_a_model_comes_from(folder: str, silence_ms: int) -> None:
    async with start_server(tiny_config(DATA / "models" / folder)) as server:
        rule = server.models.default.endpoint_rules.rule2
    assert rule is not None
    assert rule.min_trailing_silence_ms == silence_ms


@pytest.mark.asyncio
async def test_models_are_found_by_name_and_language(tmp_path: Path) -> None:
    for name, language in (("alpha", "en"), ("beta", "fr")):
        folder = tmp_path / name
        folder.mkdir()
        for file in (DATA / "models" / "w2").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "model.toml").write_text(f'name = "{name}"\nlanguage = "{language}"\n')
    async with start_server(tiny_config(tmp_path)) as server:
        models = server.models
        assert models.default.name == "alpha"
        assert models.find("beta", "").name == "beta"
        assert models.find("", "fr-CA", streaming=True).name == "beta"
        assert models.find("", "en-US").name == "alpha"
        with pytest.raises(UnknownModel, match="languages: en, fr"):
            models.find("", "de")
    with pytest.raises(StartFailed, match="default_model 'gamma' is not among the models: alpha, beta"):
        async with start_server(tiny_config(tmp_path, default_model="gamma")):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("name", ["w1", "w2-fp16", "w2-sub8", "w3", "w4-offline", "w4-streaming"])
@pytest.mark.asyncio
async def test_every_family_is_served(name: str) -> None:
    """Each folder as its exporter leaves it, through whatever halves it has."""
    data = linear16(speech_like(2.5, 1))
    async with running(tiny_config(DATA / "models" / name)) as (_, stub):
        model = (await stub.ListModels(pb.ListModelsRequest())).models[0]
        config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000)
        answer = await stub.Recognize(pb.RecognizeRequest(config=config, audio=data))
        assert answer.results[0].alternatives[0].transcript
        if model.streaming:
            assert any(each.results for each in await stream(stub, [data]))
        else:
            with pytest.raises(grpc.aio.AioRpcError, match=r"no streaming model|no streaming graph"):
                await stream(stub, [data])


@pytest.mark.asyncio
async def test_a_lost_slot_is_noticed() -> None:
    async with start_server(tiny_config()) as server:
        model = server.models.default
        assert check_integrity(model)
        lane = next(iter(model.lanes))
        lost = lane.slots._free.pop()
        assert not check_integrity(model)
        lane.slots._free.append(lost)


@pytest.mark.asyncio
async def test_a_watch_that_ends_by_a_bug_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    is_up = asyncio.Event()

    async def broken(observe: object) -> None:
        await is_up.wait()
        raise ZeroDivisionError("a bug")

    async def serve_for_ever() -> None:
        async with start_server(tiny_config()):
            is_up.set()
            await asyncio.Event().wait()

    monkeypatch.setattr("server.app.watch_loop_lag", broken)
    with pytest.raises(ExceptionGroup) as failed:
        await serve_for_ever()
    assert isinstance(failed.value.exceptions[0], ZeroDivisionError)


@pytest.mark.asyncio
async def test_a_slot_is_free_again_even_when_its_engine_cannot_close_it(capfd: pytest.CaptureFixture[str]) -> None:
    async with start_server(tiny_config()) as server:
        model = server.models.default
        assert model is not None
        lane, lease = model.lanes.lease()
        lane._engine.close_slot = Mock(side_effect=ZeroDivisionError("a bug"))
        lane.give_back(lease)
        await eventually(lambda: lane._thread.submit(int).result() == 0)  # the engine's thread has been there
        assert model.lanes.num_free == model.lanes.num_slots
        lane, late = model.lanes.lease()
    lane.give_back(late)
    assert model.lanes.num_free == model.lanes.num_slots
