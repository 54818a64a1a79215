import msgspec
import pytest

from speech.endpoint import EndpointConfig, EndpointRule, decide
from speech.errors import BadOption

WENET = EndpointConfig()


@pytest.mark.parametrize(
    ("silence_ms", "utterance_ms", "has_text", "rule"),
    [
        (0, 0, False, None),
        (4960, 4960, False, None),
        (5000, 5000, False, "rule1"),
        (5000, 6000, True, "rule1"),
        (960, 3000, True, None),
        (1000, 3000, True, "rule2"),
        (1000, 3000, False, None),
        (0, 19960, True, None),
        (0, 20000, True, "rule3"),
        (0, 20000, False, "rule3"),
        (1000, 20000, True, "rule2"),
    ],
)
def test_defaults_are_those_of_wenet(silence_ms, utterance_ms, has_text, rule):
    assert decide(WENET, silence_ms, utterance_ms, has_text) == rule


def test_disabled_endpointing_never_fires():
    assert decide(EndpointConfig(enabled=False), 10**6, 10**6, True) is None


def test_a_rule_set_to_none_is_off():
    config = EndpointConfig(rule1=None, rule2=None)
    assert decide(config, 10**6, 19999, True) is None
    assert decide(config, 0, 20000, False) == "rule3"


def test_every_condition_of_a_rule_must_hold():
    rule = EndpointRule(min_trailing_silence_ms=500, min_utterance_ms=2000, must_contain_text=True)
    assert rule.holds(500, 2000, True)
    assert not rule.holds(499, 2000, True)
    assert not rule.holds(500, 1999, True)
    assert not rule.holds(500, 2000, False)


@pytest.mark.parametrize(
    "wrong", [{}, {"must_contain_text": True}, {"min_utterance_ms": -1}, {"min_trailing_silence_ms": -5}]
)
def test_a_rule_that_fires_at_once_or_runs_backwards_is_refused(wrong):
    with pytest.raises(BadOption, match="min_"):
        EndpointRule(**wrong)


@pytest.mark.parametrize(
    "text", ['{"rule2": {"min_trailing_silence_ms": 1.5}}', '{"rule4": {}}', '{"rule1": {"min_silence": 3}}']
)
def test_configuration_is_checked_when_read(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=EndpointConfig)


def test_configuration_read_from_text_keeps_other_defaults():
    config = msgspec.json.decode(
        '{"rule2": {"min_trailing_silence_ms": 700, "must_contain_text": true}}', type=EndpointConfig
    )
    assert decide(config, 700, 3000, True) == "rule2"
    assert config.rule3 == WENET.rule3
