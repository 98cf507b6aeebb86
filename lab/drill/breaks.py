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
HUNG: Final = {"fault": "silent", "where": "handshake"}  # open streams stay silent, too
CUT_WORDS: Final = 7  # "A haircut costs forty euros. It takes | about half an hour, ..."

TAKEN_OVER_S: Final = 0.4  # beyond a healthy turn, if another recogniser transcribes the rest
AHEAD_S: Final = 10.0  # of speech that a voice may be ahead of the caller
SENTENCE_S: Final = 4.0  # extra time for a sentence that is given as a whole
CAP: Final = 1.25  # times real time; deepgram-docs, "Recovering from connection errors"


def llm(window: Mapping[str, Any]) -> tuple[Break, ...]:
    """Break the first language model before the caller speaks."""
    return (Break(provider="openai", window=window),)


def tts(window: Mapping[str, Any], when: When = When.BEFORE_TURN) -> tuple[Break, ...]:
    """Break the first voice."""
    return (Break(provider="cartesia", window=window, when=when),)


def stt(
    window: Mapping[str, Any], when: When = When.BEFORE_TURN, *, after_s: float = 0.0
) -> tuple[Break, ...]:
    """Break the first recogniser."""
    return (Break(provider="deepgram", window=window, when=when, after_s=after_s),)


def each_of(
    names: tuple[str, ...], window: Mapping[str, Any], when: When = When.BEFORE_TURN
) -> tuple[Break, ...]:
    """Break several providers in the same way."""
    return tuple(Break(provider=name, window=window, when=when) for name in names)


def replayed(spoken_s: float) -> Target:
    """Return a bound on the first word if this much of the question is heard again."""
    return extra(TAKEN_OVER_S + (spoken_s + BEFORE_S) / CAP)


def given_at_once() -> Target:
    """Return a bound on the speech that one request may ask of a voice."""
    return Target(measure="given_s", worst=AHEAD_S + SENTENCE_S)
