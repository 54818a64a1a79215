"""Hotwords and language models over real gRPC: reports, lists, changes in mid-stream, limits, refusals."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from protos import recognizer_pb2 as pb
from server.cli import models
from server.config import HotwordsSettings
from server.errors import StartFailed
from server.hotwords import RECENT, Hotwords, NamedLists
from server.options import AudioFormat, DecodingOptions, HotwordsRequest, RecognitionOptions
from speech.biasing import fit_lm, read_arpa
from speech.biasing.spelling import Speller
from speech.endpoint import EndpointConfig
from speech.hotwords import MAX_FILE_BYTES, Hotword
from speech.recognition import ResultOptions
from speech.search import SearchOptions
from speech.tokens import TokenTable
from tests.server.support import TINY, config_message, finals, linear16, rest, running, speech_like, stream, tiny_config
from tests.speech.biasing.arpa_models import random_arpa

AUDIO = linear16(speech_like(3.0, seed=3))
BEAM = pb.DecodingConfig(method=pb.CTC_PREFIX_BEAM)


def hotwords(*phrases: str, **fields: Any) -> pb.HotwordsConfig:
    return pb.HotwordsConfig(hotwords=[pb.Hotword(phrase=phrase) for phrase in phrases], **fields)


def said(transcript: str) -> int:
    """How often the tokens ▁S and I were said: the model of these tests says hardly anything else than I."""
    return sum(word.startswith("SI") and not word.startswith("SING") for word in transcript.split())


def reports(responses: list[pb.StreamingRecognizeResponse]) -> list[tuple[int, list[str]]]:
    return [
        (each.hotwords.num_hotwords, list(each.hotwords.unspellable)) for each in responses if each.HasField("hotwords")
    ]


def last_result(responses: list[pb.StreamingRecognizeResponse]) -> pb.StreamingRecognitionResult:
    return [result for each in responses for result in each.results if result.is_final][-1]


@pytest.mark.asyncio
async def test_hotwords_change_the_transcript_and_their_share_is_told() -> None:
    async with running(tiny_config()) as (_, stub):
        plain = await stream(stub, [AUDIO], decoding=BEAM, max_alternatives=10)
        told = await stream(
            stub, [AUDIO], decoding=BEAM, hotwords=hotwords("si", "naïve", boost=30.0), max_alternatives=10
        )
        assert reports(plain) == []
        assert reports(told) == [(1, ["naïve"])]
        assert said(finals(plain)[-1]) == 0
        assert said(finals(told)[-1]) > 0
        for best in last_result(told).alternatives:
            assert best.hotword_score == pytest.approx(60.0 * said(best.transcript))
        totals = [a.score + a.hotword_score + a.lm_score for a in last_result(told).alternatives]
        assert totals == sorted(totals, reverse=True)
        assert all(a.hotword_score == 0.0 for a in last_result(plain).alternatives)


@pytest.mark.asyncio
@pytest.mark.parametrize("method", [pb.CTC_PREFIX_BEAM, pb.ATTENTION_RESCORING])
async def test_hotwords_work_in_unary_calls_and_through_rescoring(method: pb.DecodingMethod.ValueType) -> None:
    config = pb.RecognitionConfig(
        encoding=pb.LINEAR16, sample_rate_hertz=16000, hotwords=hotwords("si", "日本", boost=50.0),
        decoding=pb.DecodingConfig(method=method),
    )  # fmt: skip
    async with running(tiny_config()) as (_, stub):
        response = await stub.Recognize(pb.RecognizeRequest(config=config, audio=AUDIO))
        assert (response.hotwords.num_hotwords, list(response.hotwords.unspellable)) == (1, ["日本"])
        assert said(response.results[0].alternatives[0].transcript)
        assert response.results[0].alternatives[0].hotword_score >= 100.0


@pytest.mark.asyncio
async def test_other_hotwords_in_mid_stream_count_from_the_next_chunk_on() -> None:
    halves = AUDIO[: len(AUDIO) // 2], AUDIO[len(AUDIO) // 2 :]
    async with running(tiny_config()) as (_, stub):
        call = stub.StreamingRecognize()
        await call.write(config_message(decoding=BEAM, interim_results=True))
        await call.write(pb.StreamingRecognizeRequest(audio_content=halves[0]))
        await call.write(config_message(decoding=BEAM, interim_results=True, hotwords=hotwords("si", boost=30.0)))
        await call.write(pb.StreamingRecognizeRequest(audio_content=halves[1]))
        await call.done_writing()
        responses = await rest(call)
        assert reports(responses) == [(1, [])]
        at = next(index for index, each in enumerate(responses) if each.HasField("hotwords"))
        before = [result.alternatives[0].transcript for each in responses[:at] for result in each.results]
        assert before
        assert not any(map(said, before))
        assert said(finals(responses)[-1])
        assert last_result(responses).alternatives[0].hotword_score >= 60.0


@pytest.mark.asyncio
async def test_lists_of_the_server_are_reloaded_when_their_files_change(tmp_path: Path) -> None:
    (tmp_path / "pets.txt").write_text("dog :2\n")
    config = tiny_config(hotwords={"folder": str(tmp_path)})
    async with running(config) as (_, stub):
        wanted = hotwords(lists=["pets"], boost=30.0)
        assert not said(finals(await stream(stub, [AUDIO], decoding=BEAM, hotwords=wanted))[0])
        (tmp_path / "pets.txt").write_text("dog :2\nsi\n")
        responses = await stream(stub, [AUDIO], decoding=BEAM, hotwords=wanted)
        assert reports(responses) == [(2, [])]
        assert said(finals(responses)[0])
        (tmp_path / "pets.txt").write_text("si :1000\n")  # cannot be used: the last good one counts on
        assert reports(await stream(stub, [AUDIO], decoding=BEAM, hotwords=wanted)) == [(2, [])]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fields", "message"),
    [({"hotwords": hotwords(lists=["../x"])}, "'../x' is unknown; lists: pets"),
     ({"hotwords": hotwords("a" * 201)}, r"hotwords\[0\].phrase has 201 characters"),
     ({"hotwords": hotwords("a", boost=101.0)}, "hotwords.boost is 101"),
     ({"hotwords": hotwords("a", unit=7)}, "hotwords.unit 7"),
     ({"hotwords": hotwords(*["a"] * 6)}, "6 hotwords; this server allows 5"),
     ({"hotwords": hotwords("a"), "decoding": pb.DecodingConfig(method=pb.CTC_GREEDY)}, "beam search"),
     ({"language_model": pb.LanguageModelConfig(weight=0.3)}, "w2 has no language model")],
)  # fmt: skip
async def test_impossible_requests_are_refused_by_name(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "pets.txt").write_text("cat\n")
    config = tiny_config(hotwords={"folder": str(tmp_path), "max_phrases": 5})
    async with running(config) as (_, stub):
        # Nothing is written after the configuration: grpc.aio may hide a status that comes during a write.
        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await stream(stub, [], **fields)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert finals(await stream(stub, [AUDIO]))


@pytest.mark.asyncio
async def test_a_hundred_megabytes_of_hotwords_are_refused_with_one_message() -> None:
    big = pb.HotwordsConfig(hotwords=[pb.Hotword(phrase="x" * 200)] * 520_000)
    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000, hotwords=big)
    assert config.ByteSize() > 100 << 20
    async with running(tiny_config()) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError, match=r"larger than max \(\d+ vs\. 67108864\)") as caught:
            await stub.Recognize(pb.RecognizeRequest(config=config, audio=AUDIO))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert finals(await stream(stub, [AUDIO]))


def test_a_list_of_a_hundred_megabytes_is_refused_at_start(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(StartFailed, match=rf"'huge': {100 << 20} bytes; allowed are {MAX_FILE_BYTES}"):
        NamedLists(tmp_path)
    with pytest.raises(StartFailed, match="no such folder"):
        NamedLists(tmp_path / "none")


def test_deleted_lists_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "stays.txt").write_text("cat\n", encoding="utf-8")
    lists = NamedLists(tmp_path)
    for day in range(3):
        (tmp_path / f"{day}.txt").write_text("dog\n", encoding="utf-8")
        lists.get(str(day))
        (tmp_path / f"{day}.txt").unlink()
    lists.get("stays")
    assert lists._read.keys() == {"stays"}


def test_streams_with_the_same_list_share_one_graph_that_goes_with_the_last() -> None:
    with (TINY / "units.txt").open(encoding="utf-8") as lines:
        speller = Speller(TokenTable.from_lines(lines))
    model = type("Model", (), {"name": "w2", "speller": speller, "lm": None})()
    with ThreadPoolExecutor(1) as executor:
        served = Hotwords(HotwordsSettings(), executor)

        def compiled(*phrases: str) -> Any:
            request = HotwordsRequest(tuple(Hotword(phrase) for phrase in phrases), (), 1.5, "auto")
            return executor.submit(served._compiled, model, request).result()

        first = compiled("cat", "dog")
        assert compiled("cat", "dog") is first
        assert compiled("dog", "cat") is not first
        others = [compiled(f"cat {'a' * n}") for n in range(1, 60)]
        assert compiled("cat", "dog") is first
        del first, others
        for n in range(1, 60):
            compiled(f"dog {'a' * n}")
        assert len(served._living) <= RECENT + 1


@pytest.mark.asyncio
async def test_streams_with_the_same_list_and_weights_share_one_bias() -> None:
    """A search asks a bias once a frame for all its streams: half the cost of a language model for 32 of them."""
    with (TINY / "units.txt").open(encoding="utf-8") as lines:
        tokens = TokenTable.from_lines(lines)
    lm = fit_lm(read_arpa(random_arpa(np.random.default_rng(0), ["the", "cat"]).splitlines()), tokens)
    model = type("Model", (), {"name": "w2", "speller": Speller(tokens), "lm": lm, "lodr": None})()
    with ThreadPoolExecutor(1) as executor:
        served = Hotwords(HotwordsSettings(), executor)

        async def bias(phrase: str | None, weight: float) -> Any:
            request = None if phrase is None else HotwordsRequest((Hotword(phrase),), (), 1.5, "auto")
            decoding = DecodingOptions(
                SearchOptions(), rescoring=False, hotwords=request, use_lm=True, lm_weight=weight
            )
            options = RecognitionOptions("w2", AudioFormat(1, 16000, 1), decoding, EndpointConfig(), ResultOptions())
            return (await served.apply(model, options))[0].decoding.bias

        first, alone = await bias("cat", 0.3), await bias(None, 0.3)
        assert await bias("cat", 0.3) is first
        assert await bias(None, 0.3) is alone
        assert (first.lm_weight, first.graph.num_phrases, alone.graph) == (0.3, 1, None)
        others = [await bias("cat", 0.4), await bias("dog", 0.3)]
        assert [other.lm_weight for other in others] == [0.4, 0.3]
        assert len({first, alone, *others}) == 4


def lm_folder(folder: Path, words: list[str]) -> Path:
    shutil.copytree(TINY, folder)
    (folder / "lm.arpa").write_text(random_arpa(np.random.default_rng(0), words), encoding="utf-8")
    (folder / "model.toml").write_text('[language_model]\npath = "lm.arpa"\nweight = 1.0\nbonus = 2.0\n')
    return folder


@pytest.mark.asyncio
async def test_a_models_language_model_counts_unless_the_request_says_otherwise(tmp_path: Path) -> None:
    folder = lm_folder(tmp_path / "w2", ["the", "cat", "sat", "to", "bat"])
    async with running(tiny_config(folder)) as (_, stub):
        (info,) = (await stub.ListModels(pb.ListModelsRequest())).models
        assert info.has_language_model
        own = last_result(await stream(stub, [AUDIO], decoding=BEAM)).alternatives[0]
        off = pb.LanguageModelConfig(disabled=True)
        without = last_result(await stream(stub, [AUDIO], decoding=BEAM, language_model=off)).alternatives[0]
        none = pb.LanguageModelConfig(weight=0.0, bonus=0.0)
        weightless = last_result(await stream(stub, [AUDIO], decoding=BEAM, language_model=none)).alternatives[0]
        assert own.lm_score != 0.0
        assert without.lm_score == weightless.lm_score == 0.0
        assert without.transcript == weightless.transcript
        assert without.score == pytest.approx(weightless.score)


@pytest.mark.asyncio
async def test_the_servers_language_model_must_fit_some_model(tmp_path: Path) -> None:
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(random_arpa(np.random.default_rng(0), ["the", "cat"]), encoding="utf-8")
    config = tiny_config()
    fitting = type(config)(models=config.models, lm=str(arpa), listen=config.listen, engine=config.engine)
    async with running(fitting) as (server, _):
        assert next(iter(server.models)).lm is not None
    arpa.write_text(random_arpa(np.random.default_rng(0), ["天", "地"]), encoding="utf-8")
    os.utime(arpa, ns=(1, 1))
    with pytest.raises(StartFailed, match=r"no model can use it; w2: .*one for other tokens"):
        async with running(fitting):
            pass


def test_models_check_says_which_language_model_fits_and_what_is_wrong_with_one(tmp_path: Path) -> None:
    folder = lm_folder(tmp_path / "w2", ["the", "cat"])
    chinese = tmp_path / "chinese.arpa"
    chinese.write_text(random_arpa(np.random.default_rng(0), ["\u5929", "\u5730"]), encoding="utf-8")
    told = CliRunner().invoke(models, ["check", str(folder), "--lm", str(chinese)])
    assert told.exit_code == 0, told.output
    assert "lm.arpa: 3-gram, 5 words" in told.output
    assert "scored per word: 100.0% of its words can be written" in told.output
    assert "chinese.arpa does not fit: the language model is one for other tokens" in told.output
    shutil.copy(chinese, folder / "lm.arpa")
    refused = CliRunner().invoke(models, ["check", str(folder)])
    assert refused.exit_code == 1
    assert "problem     [language_model]" in refused.output
