"""The time limits of speech recognition, in seconds."""

from typing import Final

from fallbacks.ladder import Pace

# A recogniser that got only a cough ends without a word, which is not a failure. Deepgram sends a
# message for every second of audio, so after a shorter silence it is not late.
PACE: Final = Pace(late_min_s=1.2, late_max_s=1.4, gap_s=1.2, silent_end_ok=True)
PRIOR_S: Final = 0.4  # assumed time to a rung's first words, until it is measured (chosen)
# The longest pause between two results. Deepgram sends one for each second of audio, even of
# silence.
RESULT_GAP_S: Final = 1.3
WORD_GAP_S: Final = 2.0  # the same while the caller speaks: Deepgram sends one a second
FIRST_CONNECTION_S: Final = 1.5  # across an ocean it takes a third of that (chosen)
BETTER_RUNG_EVERY_S: Final = 1.0  # of audio, between two checks for a better rung (chosen)
TURN_HELD_S: Final = 1.0  # between two delays of a turn's end: Pipecat ends it after 2.5 s
# How long to wait for a final result before the interim one is used: finals take 0.1 to 0.3 s, and
# an answer must be heard after 1.5 s (chosen).
FINAL_RESULT_S: Final = 0.7
# How much later it may still come, when the caller speaks again. The agent has hardly said anything
# by then to which the caller would answer with the same words (chosen).
LATE_FINAL_S: Final = 0.8
# The last interim result often comes before the end of the last word. Without times, it counts as
# complete if the caller spoke for no longer than this after it (chosen: a short word).
UNTIMED_S: Final = 0.3
