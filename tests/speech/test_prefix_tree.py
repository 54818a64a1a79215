"""Prefix trees hold every beginning once, know whose it is, and keep to their limit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from speech.search.prefix_tree import PrefixTree, prefix_tree

SOS = 99
lists = st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=12)


def arrays(lists: list[list[int]]) -> list[np.ndarray]:
    return [np.array(tokens, np.int32) for tokens in lists]


def beginning(tree: PrefixTree, node: int) -> tuple[int, ...]:
    tokens: list[int] = []
    while node:
        tokens.insert(0, int(tree.tokens[node]))
        node = int(tree.parents[node])
    return tuple(tokens)


@given(lists, st.booleans())
def test_nodes_are_the_distinct_beginnings(hypotheses: list[list[int]], is_reversed: bool) -> None:
    tree = prefix_tree(arrays(hypotheses), SOS, is_reversed=is_reversed)
    read = [tokens[::-1] if is_reversed else tokens for tokens in hypotheses]
    expected = {tuple(tokens[:count]) for tokens in read for count in range(len(tokens) + 1)}
    found = [beginning(tree, node) for node in range(len(tree.tokens))]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert [found[leaf] for leaf in tree.leaves] == [tuple(tokens) for tokens in read]
    assert tree.depths.tolist() == [len(each) for each in found]
    assert tree.tokens[0] == SOS
    assert (tree.parents[1:] < np.arange(1, len(found))).all()


@given(lists)
def test_ancestors_are_the_beginnings_of_a_beginning(hypotheses: list[list[int]]) -> None:
    tree = prefix_tree(arrays(hypotheses), SOS)
    found = [beginning(tree, node) for node in range(len(tree.tokens))]
    expected = [[float(longer[: len(shorter)] == shorter) for shorter in found] for longer in found]
    np.testing.assert_array_equal(tree.ancestors(), expected)


@given(lists, st.integers(1, 20), st.integers(1, 5))
def test_a_limit_leaves_out_the_last_hypotheses(hypotheses: list[list[int]], limit: int, at_least: int) -> None:
    tree = prefix_tree(arrays(hypotheses), SOS, limit=limit, at_least=at_least)
    taken = len(tree.leaves)
    whole = prefix_tree(arrays(hypotheses[:taken]), SOS)
    assert taken >= min(at_least, len(hypotheses))
    for name in ("tokens", "parents", "depths", "leaves"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(whole, name))
    forced = prefix_tree(arrays(hypotheses[:at_least]), SOS)
    assert len(tree.tokens) <= max(limit, len(forced.tokens))
    if taken < len(hypotheses):
        assert len(prefix_tree(arrays(hypotheses[: taken + 1]), SOS).tokens) > limit
