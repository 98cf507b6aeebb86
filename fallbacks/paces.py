"""The time limits of the three stages by stage; each stage's own are in `*_times.py`."""

from collections.abc import Mapping
from typing import Final

from fallbacks.ladder import Pace
from fallbacks.llm_times import PACE as LLM_PACE
from fallbacks.llm_times import PRIOR_S as LLM_PRIOR_S
from fallbacks.stt_times import PACE as STT_PACE
from fallbacks.stt_times import PRIOR_S as STT_PRIOR_S
from fallbacks.tts_times import PACE as TTS_PACE
from fallbacks.tts_times import PRIOR_S as TTS_PRIOR_S

PACES: Final[Mapping[str, Pace]] = {"stt": STT_PACE, "llm": LLM_PACE, "tts": TTS_PACE}
"""The limits after which a rung is late; chosen so that the next one still meets the budget."""

PRIORS_S: Final[Mapping[str, float]] = {"stt": STT_PRIOR_S, "llm": LLM_PRIOR_S, "tts": TTS_PRIOR_S}
"""The assumed time to a rung's first useful output, until there are measurements."""

THEN_S: Final[Mapping[str, float]] = {
    "stt": LLM_PRIOR_S + TTS_PRIOR_S,
    "llm": TTS_PRIOR_S,
    "tts": 0.0,
}
"""The assumed time from a stage's first output until the caller hears something.

It is the time that the later stages need.
"""

REOPEN_S: Final = 3.0  # a websocket's handshake is retried then (chosen); Pipecat waits for ten
