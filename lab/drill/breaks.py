"""The faults of the rows: the lab's providers, and the ways in which they fail."""

from collections.abc import Mapping
from typing import Any, Final

from lab.drill.rows import Break, Target, When, extra
from processors.hearing.replay_rules import BEFORE_S

ALL: Final = ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
STANDBYS: Final[Mapping[str, str]] = {
    "deepgram": "deepgram-b",
    "openai": "openai-b",
    "cartesia": "elevenlabs",
}
REFUSE: Final = {"fault": "refuse"}
SILENT: Final = {"fault": "silent"}
HUNG: Final = {"fault": "silent", "where": "handshake"}  # streams that are open go silent, too
CUT_WORDS: Final = 7  # "A haircut costs forty euros. It takes | about half an hour, ..."

TAKEN_OVER_S: Final = 0.4  # beyond a healthy turn, if another recogniser transcribes the rest
AHEAD_S: Final = 10.0  # of speech: how far a voice may be ahead of what the caller hears
SENTENCE_S: Final = 4.0  # more than that, because a sentence is given as a whole
INTAKE_CAP: Final = 1.25  # times real time; deepgram-docs, "Recovering from connection errors"


def llm(window: Mapping[str, Any]) -> tuple[Break, ...]:
    """Return a fault of the first language model that starts before the caller speaks."""
    return (Break(provider="openai", window=window),)


def tts(window: Mapping[str, Any], when: When = When.BEFORE_TURN) -> tuple[Break, ...]:
    """Return a fault of the first voice."""
    return (Break(provider="cartesia", window=window, when=when),)


def stt(
    window: Mapping[str, Any], when: When = When.BEFORE_TURN, *, after_s: float = 0.0
) -> tuple[Break, ...]:
    """Return a fault of the first recogniser; `after_s` counts from the caller's start."""
    return (Break(provider="deepgram", window=window, when=when, after_s=after_s),)


def each_of(
    names: tuple[str, ...], window: Mapping[str, Any], when: When = When.BEFORE_TURN
) -> tuple[Break, ...]:
    """Return the same fault for several providers."""
    return tuple(Break(provider=name, window=window, when=when) for name in names)


def replayed(spoken_s: float) -> Target:
    """Return a bound on the first word if `spoken_s` of the question are replayed to a standby."""
    return extra(TAKEN_OVER_S + (spoken_s + BEFORE_S) / INTAKE_CAP)


def given_at_once() -> Target:
    """Return a bound on the speech that a voice may get in one request."""
    return Target(measure="given_s", worst=AHEAD_S + SENTENCE_S)
