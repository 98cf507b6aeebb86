"""How patient each stage is with its rungs, and what is assumed before there are measurements."""

from collections.abc import Mapping
from typing import Final

from fallbacks.ladder import Pace

PACES: Final[Mapping[str, Pace]] = {
    # A recogniser that got only a cough ends without a word, which is not a failure. Deepgram sends
    # a message for every second of audio, so after a shorter silence it is not late.
    "stt": Pace(late_min_s=1.2, late_max_s=1.4, gap_s=1.2, silent_end_ok=True),
    "llm": Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4),
    # A voice says one thing at a time.
    "tts": Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4, races_itself=False),
}
"""The limits after which a rung is late; chosen so that the next one still meets the budget."""

PRIORS_S: Final[Mapping[str, float]] = {"stt": 0.4, "llm": 0.42, "tts": 0.3}
"""The assumed time to a rung's first useful output, until there are measurements."""

THEN_S: Final[Mapping[str, float]] = {
    "stt": PRIORS_S["llm"] + PRIORS_S["tts"],
    "llm": PRIORS_S["tts"],
    "tts": 0.0,
}
"""The assumed time from a stage's first output until the caller hears something.

It is the time that the later stages need.
"""
