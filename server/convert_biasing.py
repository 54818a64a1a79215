"""Hotwords and language models of a request's proto to domain values, with the wire's limits; reports back."""

from __future__ import annotations

import math

from protos import recognizer_pb2 as pb
from server.errors import BadRequest
from server.options import HotwordsRequest
from speech.biasing.bias import MAX_LM_BONUS, MAX_LM_WEIGHT
from speech.biasing.spelling import Unit
from speech.hotwords import MAX_BOOST, MAX_PHRASE_CHARACTERS, Hotword

DEFAULT_BOOST = 1.5  # sherpa-onnx's hotwords_score
MAX_REPORTED = 100
LODR_METHODS = ("modified_beam_search", "fast_beam_search")
UNITS: dict[int, Unit] = {
    pb.HOTWORD_UNIT_UNSPECIFIED: "auto",
    pb.HOTWORD_CHARACTER: "character",
    pb.HOTWORD_BPE: "bpe",
}


def hotwords_request(config: pb.HotwordsConfig, method: str) -> HotwordsRequest | None:
    """Read the hotwords; None where there are none. Raises BadRequest naming the field and what is allowed."""
    if not (config.hotwords or config.lists):
        return None
    if method in ("ctc_greedy", "greedy_search"):
        raise BadRequest(f"hotwords need a beam search; the method is {method.upper()}")
    if config.unit not in UNITS:
        raise BadRequest(f"hotwords.unit {config.unit} is unknown; allowed: {', '.join(pb.HotwordUnit.keys())}")
    return HotwordsRequest(
        hotwords=tuple(_hotword(number, hotword) for number, hotword in enumerate(config.hotwords)),
        lists=tuple(config.lists),
        boost=_boost("hotwords.boost", config.boost) or DEFAULT_BOOST,
        unit=UNITS[config.unit],
    )


def lm_weights(
    config: pb.LanguageModelConfig, default: tuple[float, float] | None, model: str
) -> tuple[float, float] | None:
    """Return weight and bonus, None where no language model is to be used; `default` is the model's own, if any."""
    if config.disabled:
        return None
    if default is None:
        if config.HasField("weight") or config.HasField("bonus"):
            raise BadRequest(f"language_model: model {model} has no language model")
        return None
    weight = config.weight if config.HasField("weight") else default[0]
    bonus = config.bonus if config.HasField("bonus") else default[1]
    if not 0.0 <= weight <= MAX_LM_WEIGHT:
        raise BadRequest(f"language_model.weight is {weight:g}; allowed: 0 to {MAX_LM_WEIGHT:g}")
    if not abs(bonus) <= MAX_LM_BONUS:
        raise BadRequest(f"language_model.bonus is {bonus:g}; allowed: -{MAX_LM_BONUS:g} to {MAX_LM_BONUS:g}")
    return weight, bonus


def lodr_weight(config: pb.LanguageModelConfig, method: str, model: str, has_lodr: bool) -> float:
    """Return the weight of the bigram to subtract, 0 for none. Raises BadRequest naming what is wrong with it."""
    weight = config.lodr_weight
    if weight == 0.0:
        return 0.0
    if not 0.0 <= weight <= MAX_LM_WEIGHT:
        raise BadRequest(f"language_model.lodr_weight is {weight:g}; allowed: 0 to {MAX_LM_WEIGHT:g}")
    if method not in LODR_METHODS:
        needed = " or ".join(LODR_METHODS).upper().replace(" OR ", " or ")
        raise BadRequest(f"language_model.lodr_weight needs {needed}; the method is {method.upper()}")
    if not has_lodr:
        raise BadRequest(f"language_model.lodr_weight: model {model} has no LODR bigram (chorus serve --lodr FILE)")
    return weight


def hotwords_report(num_hotwords: int, unspellable: tuple[str, ...]) -> pb.HotwordsReport:
    """Say what became of a request's hotwords."""
    return pb.HotwordsReport(
        num_hotwords=num_hotwords, num_unspellable=len(unspellable), unspellable=unspellable[:MAX_REPORTED]
    )


def _hotword(number: int, hotword: pb.Hotword) -> Hotword:
    length = len(hotword.phrase)
    if not hotword.phrase.strip() or length > MAX_PHRASE_CHARACTERS:
        raise BadRequest(
            f"hotwords.hotwords[{number}].phrase has {length} characters; allowed: 1 to {MAX_PHRASE_CHARACTERS}"
        )
    return Hotword(hotword.phrase, _boost(f"hotwords.hotwords[{number}].boost", hotword.boost) or None)


def _boost(field: str, value: float) -> float:
    if not (math.isfinite(value) and 0.0 <= value <= MAX_BOOST):
        raise BadRequest(f"{field} is {value:g}; allowed: above 0, up to {MAX_BOOST:g}, or 0 for the default")
    return value
