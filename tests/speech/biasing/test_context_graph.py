import math
import time
from collections import deque

import numpy as np
import pytest

from speech.biasing import Bias, build_graph
from speech.biasing.batch import _advance
from speech.errors import BadOption

PHRASES = ["S", "HE", "SHE", "SHELL", "HIS", "HERS", "HELLO", "THIS", "THEM"]
# asr.md 8.4, from sherpa-onnx's context-graph-test.cc; one point a token, finalize included.
STRICT = {"HEHERSHE": 14, "HERSHE": 12, "HISHE": 9, "SHED": 6, "SHELF": 6, "HELL": 2, "HELLO": 7, "DHRHISQ": 4,
          "THEN": 2}  # fmt: skip
NON_STRICT = {"HEHERSHE": 7, "HERSHE": 5, "HISHE": 5, "SHED": 3, "SHELF": 3, "HELL": 2, "HELLO": 2, "DHRHISQ": 3,
              "THEN": 2}  # fmt: skip


def ids(text):
    return [ord(char) for char in text]


def run(bias, tokens):
    """The gain of each token, then that of ending."""
    states, gains = bias.start[np.newaxis], []
    for token in tokens:
        gain, states = bias.advance(states, np.array([token], np.int32))
        gains.append(float(gain[0, 0]))
    return [*gains, float(bias.finish(states)[0, 0])]


class Node:
    def __init__(self, token, bonus, before):
        self.token, self.bonus, self.total, self.next = token, bonus, before + bonus, {}
        self.is_end, self.fail, self.output, self.output_score = False, None, None, 0.0


class Plain:
    """icefall's ContextGraph over objects, its nodes' totals made anew once all bonuses are known."""

    def __init__(self, phrases, boosts, strict):
        self.strict, self.root = strict, Node(-1, 0.0, 0.0)
        self.root.fail = self.root
        for phrase, boost in zip(phrases, boosts, strict=True):
            node = self.root
            for token in phrase:
                child = node.next.setdefault(token, Node(token, boost, node.total))
                child.bonus = max(child.bonus, boost)
                node = child
            node.is_end = True
        queue = deque([self.root])
        while queue:
            node = queue.popleft()
            for token, child in node.next.items():
                child.total = node.total + child.bonus
                child.output_score = child.total if child.is_end else 0.0
                fail = node.fail
                while token not in fail.next and fail is not self.root:
                    fail = fail.fail
                child.fail = fail.next[token] if node is not self.root and token in fail.next else self.root
                output = child.fail
                while not output.is_end and output is not self.root:
                    output = output.fail
                child.output = None if output is self.root else output
                child.output_score += child.output.output_score if child.output else 0.0
                queue.append(child)

    def step(self, state, token):
        node = state
        while token not in node.next and node is not self.root:
            node = node.fail
        node = node.next.get(token, self.root)
        score = node.total - state.total
        if self.strict or node.output_score == 0:
            return score + node.output_score, node
        return score + (node.total if node.is_end else node.output.total) - node.total, self.root

    def run(self, tokens):
        state, gains = self.root, []
        for token in tokens:
            gain, state = self.step(state, token)
            gains.append(gain)
        return [*gains, -state.total]


@pytest.mark.parametrize(("strict", "vectors"), [(True, STRICT), (False, NON_STRICT)])
def test_the_originals_vectors_hold(strict, vectors):
    bias = Bias(build_graph([ids(phrase) for phrase in PHRASES], [1.0] * len(PHRASES), strict=strict))
    assert {text: sum(run(bias, ids(text))) for text in vectors} == vectors


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("strict", [True, False])
def test_every_step_equals_the_plain_automaton(seed, strict):
    rng = np.random.default_rng(seed)
    phrases = [rng.integers(0, 4, size=rng.integers(1, 7)).tolist() for _ in range(rng.integers(1, 12))]
    boosts = rng.choice([0.5, 1.0, 2.5], size=len(phrases)).tolist()
    bias, plain = Bias(build_graph(phrases, boosts, strict=strict)), Plain(phrases, boosts, strict)
    for _ in range(10):
        tokens = rng.integers(0, 4, size=30).tolist()
        got = run(bias, tokens)
        assert got == pytest.approx(plain.run(tokens), abs=1e-5)
        assert max(got) <= bias.graph.max_gain + 1e-5


@pytest.mark.parametrize("seed", range(10))
def test_without_a_whole_phrase_everything_is_paid_back(seed):
    rng = np.random.default_rng(seed)
    phrases = [[*rng.integers(0, 5, size=rng.integers(1, 6)).tolist(), 9] for _ in range(8)]
    bias = Bias(build_graph(phrases, rng.uniform(0.1, 5, size=8).tolist()))
    gains = run(bias, rng.integers(0, 6, size=200).tolist())  # 9 never comes
    assert max(gains) > 0
    assert sum(gains) == pytest.approx(0.0, abs=1e-9)


def test_the_order_of_phrases_changes_nothing():
    phrases, boosts = [[1, 2, 3], [1, 4], [2, 3, 5], [1, 2]], [1.0, 5.0, 2.0, 0.5]
    one = build_graph(phrases, boosts)
    other = build_graph(phrases[::-1], boosts[::-1])
    for name in ("token", "first_child", "fail", "landing", "total", "gain"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_no_phrases_add_nothing():
    assert run(Bias(build_graph([], [])), [1, 2, 3]) == [0.0] * 4
    assert run(Bias(), [1, 2, 3]) == [0.0] * 4


@pytest.mark.parametrize(
    ("phrases", "boosts", "message"),
    [([[]], [1.0], "0 tokens"), ([[1] * 201], [1.0], "201 tokens"), ([[1]], [0.0], "boost is 0"),
     ([[1]], [101.0], "boost is 101"), ([[1]], [float("nan")], "boost is nan"), ([[1]], [], "1 hotwords with 0")],
)  # fmt: skip
def test_what_cannot_be_compiled_is_refused_with_numbers(phrases, boosts, message):
    with pytest.raises(BadOption, match=message):
        build_graph(phrases, boosts)


def test_compiling_takes_time_and_memory_in_proportion_to_the_phrases():
    """Ten times as many phrases; a quadratic step would take a hundred times as long. See benchmarks/biasing.py."""
    rng = np.random.default_rng(0)
    phrases = [rng.integers(0, 320, size=rng.integers(2, 12)).tolist() for _ in range(5000)]
    best = {500: math.inf, 5000: math.inf}
    for _ in range(7):  # in turns, and the best of each, so that other work on the machine counts little
        for count in best:
            begin = time.thread_time()
            graph = build_graph(phrases[:count], [1.5] * count)
            best[count] = min(best[count], time.thread_time() - begin)
    assert best[5000] < 30 * best[500]
    assert graph.num_bytes < 24 * graph.num_nodes + 100


def test_entry_points_hold_no_gil():
    assert _advance.targetoptions["nogil"]
