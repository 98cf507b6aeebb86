"""The time limits of the language model, in seconds."""

from typing import Final

from fallbacks.ladder import Pace

PACE: Final = Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4)
PRIOR_S: Final = 0.42  # assumed time to a rung's first word, until it is measured (chosen)
FIRST_WORD_S: Final = 0.37  # usual time from a question to the first word (measured)
SENTENCE_S: Final = 0.09  # from there to the end of the first sentence (measured)
HANDSHAKE_S: Final = 1.0  # a slower one would use up a budget of 1.5 s
USAGE_S: Final = 0.25  # to wait for usage after an answer; after 0.4 s the rung would be late
RUNG_WAIT_S: Final = 10.0  # to wait for an available rung, while the line is held (chosen)
RUNG_CHECK_S: Final = 0.1  # between two checks for an available rung
PLACE_WAIT_S: Final = 10.0  # for a place, when no caller waits for the answer (chosen)
MAX_REPLY_S: Final = 60.0  # of speech in one reply, by default
