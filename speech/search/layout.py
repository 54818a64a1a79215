"""Which number of a search's state lies where in its arrays; shared by the compiled kernels and `CtcSearch`.

State of slot s: settings[s], numbers[s], and columns of scores[s] and links[s], one per hypothesis, best first.
Hypotheses point into one pool of nodes for all slots, which holds two kinds of tree:

  prefix nodes   one per distinct token prefix that lives or has a living descendant; equal prefixes share a node
  path nodes     (token, frame, log posterior) along a best path; a prefix may have two paths, one ending in blank

A node is freed when neither a hypothesis nor a child refers to it. The compiled code freezes these constants.
"""

from typing import Final

# Log-probabilities at or below this mean "impossible": candidates are ignored, an unlisted or impossible blank
# counts as this much, so that scores stay finite whatever the encoder says (also NaN).
LOG_FLOOR: Final = -1000.0
# Hypotheses this far below the best live only by the floor, and are dropped.
LOG_HOPELESS: Final = 500.0
# Above this probability of blank a frame is silence (WeNet, ctc_endpoint.h).
SILENCE_PROB: Final = 0.8

NONE: Final = -1  # no node, no token

# nodes[n] int32
PARENT: Final = 0  # for free nodes: the next free one
TOKEN: Final = 1
REFS: Final = 2  # hypotheses and children that refer to the node
FRAME: Final = 3  # path nodes only
CHILD: Final = 3  # prefix nodes only: first child
SIBLING: Final = 4  # prefix nodes only: next child of the same parent
NODE_FIELDS: Final = 5

# free int32: the list of free nodes
FREE_HEAD: Final = 0
NUM_FREE: Final = 1

# settings[s] float64
LOG_BLANK_SKIP: Final = 0  # above 0: never skip
CUTOFF_PROB: Final = 1  # above 1: never cut
BLANK_PENALTY: Final = 2
NUM_SETTINGS: Final = 3

# numbers[s] int32
BEAM_SIZE: Final = 0  # 0: greedy
TOP_K: Final = 1
NUM_HYPS: Final = 2
FRAMES: Final = 3
TRAILING_BLANKS: Final = 4
IN_BLANK_RUN: Final = 5
LAST_ID: Final = 6  # greedy: id of the last frame, blank included
NUM_NUMBERS: Final = 7

# scores[s, row, hypothesis] float64. The first NUM_SCORES are acoustic. The others are what hotwords and language model
# have added, functions of the prefix alone: added when hypotheses are ranked, carried over unchanged by blanks and
# repeats, and left alone in streams without a bias.
TOTAL: Final = 0  # log-sum over all paths
SUM_BLANK: Final = 1  # ... over paths ending in blank
SUM_TOKEN: Final = 2  # ... over paths ending in the last token
BEST_BLANK: Final = 3  # the best single path ending in blank
BEST_TOKEN: Final = 4
NUM_SCORES: Final = 5
HOTWORDS: Final = 5
LM: Final = 6
ALL_SCORES: Final = 7

# links[s, row, hypothesis] int32; the rows beyond NUM_LINKS as with scores
PREFIX: Final = 0
LAST_TOKEN: Final = 1
LENGTH: Final = 2
PATH_BLANK: Final = 3  # path node of BEST_BLANK
PATH_TOKEN: Final = 4
NUM_LINKS: Final = 5
BIAS_STATES: Final = 5  # and the three after it: the states of speech/biasing/steps.py
ALL_LINKS: Final = 9
