"""When an utterance has ended: a pure function of lengths, with WeNet's rules as defaults (ctc_endpoint.h)."""

from typing import Annotated

import msgspec

from speech.errors import BadOption

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]


class EndpointRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fires when every condition holds. At least one length must be above 0, or it would fire at once."""

    min_trailing_silence_ms: Milliseconds = 0
    min_utterance_ms: Milliseconds = 0
    must_contain_text: bool = False

    def __post_init__(self) -> None:
        for name in ("min_trailing_silence_ms", "min_utterance_ms"):
            if getattr(self, name) < 0:
                raise BadOption(f"endpoint {name} is {getattr(self, name)} ms; at least 0 is needed")
        if self.min_trailing_silence_ms == 0 and self.min_utterance_ms == 0:
            raise BadOption("an endpoint rule needs min_trailing_silence_ms or min_utterance_ms above 0; both are 0")

    def holds(self, trailing_silence_ms: int, utterance_ms: int, has_text: bool) -> bool:
        return (
            trailing_silence_ms >= self.min_trailing_silence_ms
            and utterance_ms >= self.min_utterance_ms
            and (has_text or not self.must_contain_text)
        )


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any rule suffices. rule1: long silence, even if nothing was said; rule2: silence after text; rule3: too long.

    A rule set to None is off; `enabled` false turns all off.
    """

    enabled: bool = True
    rule1: EndpointRule | None = EndpointRule(min_trailing_silence_ms=5000)
    rule2: EndpointRule | None = EndpointRule(min_trailing_silence_ms=1000, must_contain_text=True)
    rule3: EndpointRule | None = EndpointRule(min_utterance_ms=20000)


# What k2's endpointing does by default (sherpa-onnx, endpoint.h); used for icefall's models.
K2_RULES = EndpointConfig(
    rule1=EndpointRule(min_trailing_silence_ms=2400),
    rule2=EndpointRule(min_trailing_silence_ms=1200, must_contain_text=True),
    rule3=EndpointRule(min_utterance_ms=20000),
)


def decide(config: EndpointConfig, trailing_silence_ms: int, utterance_ms: int, has_text: bool) -> str | None:
    """Return the name of the first rule that holds, or None."""
    if not config.enabled:
        return None
    rules = {"rule1": config.rule1, "rule2": config.rule2, "rule3": config.rule3}
    for name, rule in rules.items():
        if rule is not None and rule.holds(trailing_silence_ms, utterance_ms, has_text):
            return name
    return None
