"""The second pass over real gRPC: it is the default where a model has it, streamed and unary, whatever the packets."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

from protos import recognizer_pb2 as pb
from tests.engines import graphs
from tests.server.support import RATE, finals, linear16, packets, running, speech_like, stream, tiny_config

CODE = grpc.StatusCode
pytestmark = pytest.mark.asyncio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return graphs.add_second_pass(graphs.add_trees(graphs.gpu_model(tmp_path / "mini")), more="ctc_weight = 0.05\n")


def decoding(method: int, **fields: float) -> pb.DecodingConfig:
    return pb.DecodingConfig(method=pb.DecodingMethod.ValueType(method), **fields)


async def test_it_is_the_default_and_says_otherwise_than_rescoring(folder: Path) -> None:
    audio = linear16(speech_like(2.0, seed=3))
    async with running(tiny_config(folder)) as (_, stub):
        (model,) = (await stub.ListModels(pb.ListModelsRequest())).models
        assert list(model.methods)[:2] == [pb.SECOND_PASS, pb.ATTENTION_RESCORING]
        by_default = await stream(stub, [audio], interim_results=False)
        second = await stream(stub, [audio], decoding=decoding(pb.SECOND_PASS))
        rescored = await stream(stub, [audio], decoding=decoding(pb.ATTENTION_RESCORING))
    assert finals(by_default) == finals(second) != []
    assert finals(second) != finals(rescored)


async def test_packets_do_not_matter(folder: Path) -> None:
    audio = linear16(speech_like(2.5, seed=4))
    async with running(tiny_config(folder)) as (_, stub):
        whole = await stream(stub, [audio], max_alternatives=3, enable_word_time_offsets=True)
        cut = await stream(
            stub, packets(audio, range(0, len(audio), 1501)), max_alternatives=3, enable_word_time_offsets=True
        )
    last = [[result for each in answers for result in each.results if result.is_final] for answers in (whole, cut)]
    assert [result.alternatives[0].transcript for result in last[0]] == finals(cut)
    words = last[0][0].alternatives[0].words
    assert len(words) > 0
    assert all(word.start_ms <= word.end_ms for word in words)


async def test_the_weights_of_a_request(folder: Path) -> None:
    texts: dict[float, list[str]] = {0.0: [], 50.0: []}
    async with running(tiny_config(folder)) as (_, stub):
        for weight, heard in texts.items():
            for seed in range(4):
                asked = decoding(pb.SECOND_PASS, ctc_weight=weight)
                heard += finals(await stream(stub, [linear16(speech_like(1.5, seed))], decoding=asked))
        assert texts[0.0] != texts[50.0]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(stub, [b"\0\0"], decoding=decoding(pb.SECOND_PASS, reverse_weight=0.5))
    assert caught.value.code() == CODE.INVALID_ARGUMENT
    assert re.search("reverse_weight has a meaning only with ATTENTION_RESCORING", caught.value.details() or "")


async def test_a_model_without_one_says_what_it_can(tmp_path: Path) -> None:
    folder = graphs.add_trees(graphs.gpu_model(tmp_path / "mini"))
    async with running(tiny_config(folder)) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(stub, [b"\0\0" * RATE], decoding=decoding(pb.SECOND_PASS))
    assert caught.value.code() == CODE.INVALID_ARGUMENT
    told = "SECOND_PASS is not possible with model mini; allowed: ATTENTION_RESCORING"
    assert re.search(told, caught.value.details() or "")


async def test_unary_requests_use_it(tmp_path: Path) -> None:
    folder = graphs.add_trees(graphs.gpu_model(tmp_path / "mini", streaming=False), streaming=False)
    graphs.add_second_pass(folder)
    audio = linear16(speech_like(1.5, seed=6))

    async def heard(stub: object, method: int) -> str:
        config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE, decoding=decoding(method))
        answer = await stub.Recognize(pb.RecognizeRequest(config=config, audio=audio))  # type: ignore[attr-defined]
        return " ".join(result.alternatives[0].transcript for result in answer.results)

    async with running(tiny_config(folder)) as (_, stub):
        assert await heard(stub, pb.SECOND_PASS) == await heard(stub, pb.DECODING_METHOD_UNSPECIFIED)
        assert await heard(stub, pb.SECOND_PASS) != await heard(stub, pb.ATTENTION_RESCORING)


async def test_its_weight_is_not_that_of_a_first_decoder_which_has_it_in_its_graph(tmp_path: Path) -> None:
    folder = graphs.add_second_pass(graphs.gpu_model(tmp_path / "mini", graphs.Mini(ctc_weight=0.0)))
    async with running(tiny_config(folder)) as (_, stub):
        audio = linear16(speech_like(1.5, seed=2))
        assert finals(await stream(stub, [audio], decoding=decoding(pb.SECOND_PASS, ctc_weight=0.7))) != []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(stub, [audio], decoding=decoding(pb.ATTENTION_RESCORING, ctc_weight=0.7))
    assert re.search("fixed in its graph", caught.value.details() or "")
