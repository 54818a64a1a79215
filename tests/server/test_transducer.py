"""A transducer behind the server: methods, results, refusals."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from protos import recognizer_pb2 as pb
from tests.server.support import comparable, finals, linear16, packets, running, speech_like, stream, tiny_config

MODELS = Path(__file__).parents[1] / "data" / "models"
PAUSE = np.zeros(3 * 16000, np.float32)


@pytest.mark.asyncio
async def test_transducer_streams_alike_for_any_packets_and_by_every_method():
    data = linear16(np.concatenate([speech_like(2.0, 1), PAUSE, speech_like(1.0, 2)]))
    async with running(tiny_config(MODELS / "k2")) as (_, stub):
        (info,) = (await stub.ListModels(pb.ListModelsRequest())).models
        assert list(info.methods) == [pb.MODIFIED_BEAM_SEARCH, pb.GREEDY_SEARCH, pb.FAST_BEAM_SEARCH]
        assert (info.streaming, info.chunk_ms, info.vocabulary_size) == (True, 320, 30)
        for method in info.methods:
            asked = {"decoding": pb.DecodingConfig(method=method), "enable_word_time_offsets": True}
            whole = await stream(stub, [data], **asked)
            cut = await stream(stub, packets(data, range(1111, 160_000, 7777)), **asked)
            assert comparable(cut) == comparable(whole)
            assert finals(whole)
            starts = [r.start_ms for each in whole for r in each.results if r.is_final]
            assert starts == sorted(starts)
        unary = await stub.Recognize(
            pb.RecognizeRequest(config=pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000), audio=data)
        )
        by_default = [each for each in await stream(stub, [data]) if each.results]
        assert [r.alternatives[0].transcript for r in unary.results] == finals(by_default)


@pytest.mark.asyncio
async def test_options_of_other_searches_are_refused_by_name():
    async with running(tiny_config(MODELS / "k1")) as (_, stub):
        wrong = {
            "CTC_GREEDY is not possible with model k1": pb.DecodingConfig(method=pb.CTC_GREEDY),
            "decoding.top_k has no meaning with MODIFIED_BEAM_SEARCH": pb.DecodingConfig(top_k=3),
            "decoding.max_symbols has no meaning with FAST_BEAM_SEARCH": pb.DecodingConfig(
                method=pb.FAST_BEAM_SEARCH, max_symbols=2
            ),
            "decoding.max_symbols is 11; allowed: 1 to 10": pb.DecodingConfig(method=pb.GREEDY_SEARCH, max_symbols=11),
            "decoding.beam is 0.0625; allowed: 0.1 to 1000": pb.DecodingConfig(method=pb.FAST_BEAM_SEARCH, beam=0.0625),
        }
        for complaint, decoding in wrong.items():
            config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000, decoding=decoding)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Recognize(pb.RecognizeRequest(config=config, audio=b""))
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert complaint in (caught.value.details() or "")
        config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000)
        audio = linear16(speech_like(2.0, 3))
        (result,) = (await stub.Recognize(pb.RecognizeRequest(config=config, audio=audio))).results
        assert result.alternatives[0].transcript


@pytest.mark.asyncio
async def test_hotwords_are_taken_by_beam_searches_alone():
    audio = [linear16(speech_like(0.5, 1))]
    hotwords = pb.HotwordsConfig(hotwords=[pb.Hotword(phrase="ROLL", boost=4.0)])
    async with running(tiny_config(MODELS / "k2")) as (_, stub):
        for method in (pb.MODIFIED_BEAM_SEARCH, pb.FAST_BEAM_SEARCH):
            told = await stream(stub, audio, hotwords=hotwords, decoding=pb.DecodingConfig(method=method))
            assert max(each.hotwords.num_hotwords for each in told) == 1
        greedy = pb.DecodingConfig(method=pb.GREEDY_SEARCH)
        with pytest.raises(grpc.aio.AioRpcError, match="hotwords need a beam search"):
            await stream(stub, audio, hotwords=hotwords, decoding=greedy)
