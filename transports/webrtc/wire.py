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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pipecat.transports.smallwebrtc.connection import SIGNALLING_TYPE

from calls.entry import Tell
from calls.events import InputRefused
from calls.leg_events import EarMeasured
from transports.far_end import KEYS_CAP, KEYS_PER_S, FloodLimit

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


MESSAGES_PER_S: Final = 10.0  # the page pings once a second
MESSAGES_CAP: Final = 100.0  # more than an entry has keys
EARS_PER_S: Final = 0.5  # one for each answer
EARS_CAP: Final = 5.0

Hear: TypeAlias = Callable[[PageKey | EarMeasured], Awaitable[None]]
"""Takes what the page said to us."""


class PageMessages:
    """The messages of one call's page, whichever connection they come over.

    Attributes:
        hear: Takes keys and reports; until it is set they are dropped.
    """

    def __init__(self, *, tell: Tell, heard: Callable[[], None]) -> None:
        """Have heard nothing yet.

        Args:
            tell: Is told of what was refused.
            heard: Called when the page says anything that we take.
        """
        self.hear: Hear | None = None
        self._tell = tell
        self._heard = heard
        self._told: set[str] = set()
        self._all = FloodLimit(per_s=MESSAGES_PER_S, cap=MESSAGES_CAP)
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._ears = FloodLimit(per_s=EARS_PER_S, cap=EARS_CAP)

    async def take(self, message: str | bytes) -> bool:
        """Read a message, and return whether Pipecat shall read it."""
        if not await self._all.take(1):
            self.refused("data_messages_too_fast")
            return False
        said = read(message)
        if isinstance(said, Unwanted):
            self.refused(said.reason)
            return False
        self._heard()
        await self._pass_on(said)
        return isinstance(said, ForPipecat)

    def refused(self, reason: str) -> None:
        """Tell why something was not taken, once for each reason."""
        if reason not in self._told:
            self._told.add(reason)
            self._tell(InputRefused(transport="webrtc", reason=reason))

    async def _pass_on(self, said: PageKey | EarMeasured | ForPipecat) -> None:
        match said:
            case PageKey() if not await self._keys.take(1):
                self.refused("keys_faster_than_fingers")
            case EarMeasured() if not await self._ears.take(1):
                self.refused("ears_too_often")
            case PageKey() | EarMeasured() if self.hear is not None:
                await self.hear(said)
            case _:
                pass
