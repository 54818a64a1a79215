"""Compiled: the pool of prefix and path nodes. Taking never fails: callers first see to it that enough are free."""

from typing import Any

import numba

from speech.search.layout import (
    CHILD,
    FRAME,
    FREE_HEAD,
    NONE,
    NUM_FREE,
    PARENT,
    REFS,
    SIBLING,
    TOKEN,
)

# Kernels are untyped on purpose: numba infers array types from the entry points' signatures in kernels.py.
compiled: Any = numba.njit(nogil=True, error_model="numpy")


@compiled
def take(nodes, pool, parent, token):  # type: ignore[no-untyped-def]
    """Take a free node as child of `parent`; the caller holds its only reference."""
    node = pool[FREE_HEAD]
    pool[FREE_HEAD] = nodes[node, PARENT]
    pool[NUM_FREE] -= 1
    if parent != NONE:
        nodes[parent, REFS] += 1
    nodes[node, PARENT] = parent
    nodes[node, TOKEN] = token
    nodes[node, REFS] = 1
    return node


@compiled
def take_path(nodes, node_log_probs, pool, parent, token, frame, log_prob):  # type: ignore[no-untyped-def]
    """Take a path node."""
    node = take(nodes, pool, parent, token)
    nodes[node, FRAME] = frame
    node_log_probs[node] = log_prob
    return node


@compiled
def take_prefix(nodes, pool, parent, token):  # type: ignore[no-untyped-def]
    """Find the prefix node of `parent` + `token`, or make it; add a reference for the caller."""
    if parent != NONE:
        node = nodes[parent, CHILD]
        while node != NONE:
            if nodes[node, TOKEN] == token:
                nodes[node, REFS] += 1
                return node
            node = nodes[node, SIBLING]
    node = take(nodes, pool, parent, token)
    nodes[node, CHILD] = NONE
    nodes[node, SIBLING] = NONE
    if parent != NONE:
        nodes[node, SIBLING] = nodes[parent, CHILD]
        nodes[parent, CHILD] = node
    return node


@compiled
def _unlink(nodes, node):  # type: ignore[no-untyped-def]
    """Take a prefix node out of its parent's list of children."""
    parent = nodes[node, PARENT]
    if nodes[parent, CHILD] == node:
        nodes[parent, CHILD] = nodes[node, SIBLING]
        return
    before = nodes[parent, CHILD]
    while nodes[before, SIBLING] != node:
        before = nodes[before, SIBLING]
    nodes[before, SIBLING] = nodes[node, SIBLING]


@compiled
def release(nodes, pool, node, is_prefix):  # type: ignore[no-untyped-def]
    """Give up a reference; free the node, and its ancestors, where it was the last."""
    while node != NONE:
        nodes[node, REFS] -= 1
        if nodes[node, REFS] > 0:
            return
        parent = nodes[node, PARENT]
        if is_prefix and parent != NONE:
            _unlink(nodes, node)
        nodes[node, PARENT] = pool[FREE_HEAD]
        pool[FREE_HEAD] = node
        pool[NUM_FREE] += 1
        node = parent
