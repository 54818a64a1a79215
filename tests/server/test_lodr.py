"""LODR by request: off unless asked for, refused where it means nothing."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from protos import recognizer_pb2 as pb
from server.errors import StartFailed
from tests.server.support import linear16, running, speech_like, tiny_config
from tests.speech.biasing.arpa_models import random_arpa

K2 = Path(__file__).parents[1] / "data" / "models" / "k2"
PIECES = [line.split()[0] for line in (K2 / "tokens.txt").read_text(encoding="utf-8").splitlines()][3:]
AUDIO = linear16(speech_like(2.0, 1))


def config_with(tmp_path: Path, order: int = 2, models: Path = K2):
    """A server with a word LM and a token bigram, as files."""
    words = ["a", "the", "to", "s", "b"]
    for name, known, length in (("lm", words, 3), ("lodr", PIECES, order)):
        text = random_arpa(np.random.default_rng(0), known, length)
        (tmp_path / f"{name}.arpa").write_text(text, encoding="utf-8")
    base = tiny_config(models)
    files = {"lm": str(tmp_path / "lm.arpa"), "lodr": str(tmp_path / "lodr.arpa")}
    return type(base)(models=base.models, listen=base.listen, engine=base.engine, **files)


def request(method: pb.DecodingMethod = pb.MODIFIED_BEAM_SEARCH, **lm: object) -> pb.RecognizeRequest:
    config = pb.RecognitionConfig(
        encoding=pb.LINEAR16,
        sample_rate_hertz=16000,
        decoding=pb.DecodingConfig(method=method),
        language_model=pb.LanguageModelConfig(**lm),
    )
    return pb.RecognizeRequest(config=config, audio=AUDIO)


@pytest.mark.asyncio
async def test_lodr_counts_for_requests_that_ask_for_it_alone(tmp_path: Path) -> None:
    async with running(config_with(tmp_path)) as (_, stub):
        said = []
        for weight in (0.0, 0.4, 0.0):
            (result,) = (await stub.Recognize(request(lodr_weight=weight))).results
            said.append((result.alternatives[0].transcript, result.alternatives[0].lm_score))
        assert said[0] == said[2]
        assert said[1][1] > said[0][1], "what is subtracted is below 0"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"lodr_weight": -1.0}, "language_model.lodr_weight is -1; allowed: 0 to 10"),
        ({"lodr_weight": 0.3, "method": pb.GREEDY_SEARCH}, "needs MODIFIED_BEAM_SEARCH or FAST_BEAM_SEARCH"),
        ({"lodr_weight": 0.3, "disabled": True}, "lodr_weight is 0.3, but no language model is used"),
    ],
)
async def test_lodr_that_means_nothing_is_refused(asked: dict[str, object], complaint: str, tmp_path: Path) -> None:
    async with running(config_with(tmp_path)) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recognize(request(**asked))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert complaint in (caught.value.details() or "")


@pytest.mark.asyncio
async def test_a_server_without_a_bigram_says_so() -> None:
    async with running(tiny_config(K2)) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError, match="model k2 has no LODR bigram"):
            await stub.Recognize(request(lodr_weight=0.3))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("order", "model", "complaint"),
    [(3, "k2", "lodr: no model can use it; k2: .*this is a 3-gram"), (2, "w2", "lodr: no model .* for transducers")],
)
async def test_a_bigram_that_no_model_can_use_stops_the_start(
    order: int, model: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(StartFailed, match=complaint):
        async with running(config_with(tmp_path, order, K2.with_name(model))):
            pass
