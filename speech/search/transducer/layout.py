"""What the columns and rows of the search's arrays mean; s is a slot, h a hypothesis of it."""

from typing import Final

NONE: Final = -1  # no node, no token

# settings[s] float64
BLANK_PENALTY: Final = 0
INVERSE_TEMPERATURE: Final = 1
BEAM_WIDTH: Final = 2  # fast: score distance from the best
NUM_SETTINGS: Final = 3

# numbers[s] int32
METHOD: Final = 0
BEAM_SIZE: Final = 1  # most hypotheses
MAX_SYMBOLS: Final = 2
NUM_HYPS: Final = 3
FRAMES: Final = 4  # finished frames of the segment
SYMBOLS: Final = 5  # greedy: tokens taken on the frame at work
NUM_NUMBERS: Final = 6

# values of METHOD
GREEDY: Final = 0
MODIFIED: Final = 1
FAST: Final = 2

# scores[s, row, h] float64
ACOUSTIC: Final = 0
HOTWORDS: Final = 1  # what the bias has added so far: one row for each of its gains
LANGUAGE: Final = 2
NUM_SCORES: Final = 3

# links[s, row, h] int32
PREFIX: Final = 0  # prefix node; modified only, NONE elsewhere
PATH: Final = 1  # path node of the last token; NONE before the first
LENGTH: Final = 2  # tokens of the segment
TRAILING: Final = 3  # frames since the last token
TAKEN: Final = 4  # token taken in the last step whose bias is still to be asked for; else NONE
NUM_LINKS: Final = 5
