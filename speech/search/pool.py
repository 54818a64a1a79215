"""Compiled: the pool of prefix and path nodes. Taking never fails: callers first see to it that enough are free."""
# mypy: disable-error-code="no-untyped-def"

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from speech.search.layout import CHILD, FRAME, FREE_HEAD, NONE, NUM_FREE, PARENT, REFS, SIBLING, TOKEN

# Kernels are untyped on purpose: numba infers array types from the entry points' signatures in kernels.py.
compiled: Any = numba.njit(nogil=True, error_model="numpy")


class Pool(NamedTuple):
    """The nodes of all slots; see layout.py. `free` holds the free list's head and length."""

    nodes: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    free: NDArray[np.int32]


@compiled
def take(pool, parent, token):
    """Take a free node as child of `parent`; the caller holds its only reference."""
    node = pool.free[FREE_HEAD]
    pool.free[FREE_HEAD] = pool.nodes[node, PARENT]
    pool.free[NUM_FREE] -= 1
    if parent != NONE:
        pool.nodes[parent, REFS] += 1
    pool.nodes[node, PARENT] = parent
    pool.nodes[node, TOKEN] = token
    pool.nodes[node, REFS] = 1
    return node


@compiled
def take_path(pool, parent, token, frame, log_prob):
    """Take a path node."""
    node = take(pool, parent, token)
    pool.nodes[node, FRAME] = frame
    pool.log_probs[node] = log_prob
    return node


@compiled
def take_prefix(pool, parent, token):
    """Find the prefix node of `parent` + `token`, or make it; add a reference for the caller."""
    nodes = pool.nodes
    if parent != NONE:
        node = nodes[parent, CHILD]
        while node != NONE:
            if nodes[node, TOKEN] == token:
                nodes[node, REFS] += 1
                return node
            node = nodes[node, SIBLING]
    node = take(pool, parent, token)
    nodes[node, CHILD] = NONE
    nodes[node, SIBLING] = NONE
    if parent != NONE:
        nodes[node, SIBLING] = nodes[parent, CHILD]
        nodes[parent, CHILD] = node
    return node


@compiled
def retain(pool, node):
    """Add a reference; return the node."""
    if node != NONE:
        pool.nodes[node, REFS] += 1
    return node


@compiled
def release(pool, node, is_prefix):
    """Give up a reference; free the node, and its ancestors, where it was the last."""
    nodes = pool.nodes
    while node != NONE:
        nodes[node, REFS] -= 1
        if nodes[node, REFS] > 0:
            return
        parent = nodes[node, PARENT]
        if is_prefix and parent != NONE:
            _unlink(nodes, node)
        nodes[node, PARENT] = pool.free[FREE_HEAD]
        pool.free[FREE_HEAD] = node
        pool.free[NUM_FREE] += 1
        node = parent


@compiled
def _unlink(nodes, node):
    """Take a prefix node out of its parent's list of children."""
    parent = nodes[node, PARENT]
    if nodes[parent, CHILD] == node:
        nodes[parent, CHILD] = nodes[node, SIBLING]
        return
    before = nodes[parent, CHILD]
    while nodes[before, SIBLING] != node:
        before = nodes[before, SIBLING]
    nodes[before, SIBLING] = nodes[node, SIBLING]
