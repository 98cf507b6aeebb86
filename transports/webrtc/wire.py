"""What the page says over its data channel: four kinds of message, and nothing else is read.

    "ping: 1700000000000"                                  once a second
    {"type": "key", "key": "5"}                            a key of its keypad
    {"type": "ear", "turn": 3, "buffer_s": 0.13, …}        what its receiver measured
    {"type": "signalling", "message": {"type": "trackStatus", …}}   Pipecat's own

A page may be anybody's: what does not have this shape, or holds a number that no ear can measure,
is told apart here and dropped.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pipecat.transports.smallwebrtc.connection import SIGNALLING_TYPE

from calls.leg_events import EarMeasured

MAX_MESSAGE_CHARS: Final = 1000  # a ping has 20, an ear's report 150
RECEIVERS: Final = 3  # Pipecat knows a microphone, a camera and a screen
KEYS: Final = frozenset("0123456789*#")
MAX_TURN: Final = 100_000
LONGEST_S: Final = 10.0  # a browser's buffer holds a second or two; more is made up


@dataclass(frozen=True, slots=True)
class PageKey:
    """A key was pressed on the page's keypad."""

    key: str  # 0-9, *, #


@dataclass(frozen=True, slots=True)
class ForPipecat:
    """A ping, or the status of a track: Pipecat's connection reads it."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Nothing that a call needs."""

    reason: str


PageMessage: TypeAlias = PageKey | EarMeasured | ForPipecat | Unwanted


def read(message: str | bytes) -> PageMessage:
    """Return what a message says; never raises, whatever it holds."""
    if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
        return Unwanted("data_message_too_big")
    if message.startswith("ping"):
        return ForPipecat()
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return Unwanted("unknown_data_message")
    return _understood(fields) or Unwanted("unknown_data_message")


def _understood(fields: Any) -> PageMessage | None:
    match fields:
        case {"type": "key", "key": str(key)} if key in KEYS:
            return PageKey(key)
        case {"type": "ear", "turn": int(turn)} if not isinstance(turn, bool):
            return _ear(turn, fields) if 1 <= turn <= MAX_TURN else None
        case {"type": kind, "message": {"type": "trackStatus", "receiver_index": int(index)} as of}:
            known = kind == SIGNALLING_TYPE and index in range(RECEIVERS)
            return ForPipecat() if known and isinstance(of.get("enabled"), bool) else None
        case _:
            return None


def _ear(turn: int, fields: dict[str, Any]) -> EarMeasured | None:
    buffer_s, playout_s = _number(fields, "buffer_s"), _number(fields, "playout_s")
    network_s, made_up_s = _number(fields, "network_s"), _number(fields, "made_up_s")
    if buffer_s is None or playout_s is None or network_s is None or made_up_s is None:
        return None
    return EarMeasured(
        turn=turn,
        buffer_s=buffer_s,
        playout_s=playout_s,
        network_s=network_s,
        made_up_s=made_up_s,
    )


def _number(fields: dict[str, Any], name: str) -> float | None:
    """Return a length of time that a page may say, in seconds; None: it is none."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= LONGEST_S or not math.isfinite(value):
        return None
    return round(float(value), 4)
