"""The messages of the page on its data channel: four kinds; any other is dropped.

    "ping: 1700000000000"                                  once a second
    {"type": "key", "key": "5"}                            a key of its keypad
    {"type": "ear", "turn": 3, "buffer_s": 0.13, …}        measurements of its audio receiver
    {"type": "signalling", "message": {"type": "trackStatus", …}}   for Pipecat

The page is untrusted, so a message with an implausible measurement is dropped too.
"""

import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pipecat.transports.smallwebrtc.connection import SIGNALLING_TYPE

from calls.entry import Emit
from calls.events import InputRefused
from calls.leg_events import EarMeasured
from transports.far_end import KEYS_CAP, KEYS_PER_S, FloodLimit

MAX_MESSAGE_CHARS: Final = 1000  # a ping has 20, a measurement 150
RECEIVERS: Final = 3  # in Pipecat: a microphone, a camera and a screen
KEYS: Final = frozenset("0123456789*#")
MAX_TURN: Final = 100_000
MAX_BUFFERED_S: Final = 10.0  # a browser buffers one or two seconds; much more is implausible


@dataclass(frozen=True, slots=True)
class PageKey:
    """A key was pressed on the page's keypad."""

    key: str  # 0-9, *, #


@dataclass(frozen=True, slots=True)
class ForPipecat:
    """A ping, or the status of a track, which Pipecat's connection reads."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A message that no call needs, or that is malformed."""

    reason: str


PageMessage: TypeAlias = PageKey | EarMeasured | ForPipecat | Unwanted


def read_page_message(message: str | bytes) -> PageMessage:
    """Return a parsed message, `Unwanted` if no call needs it; never raises.

    Whatever begins with "ping" is for Pipecat.
    """
    if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
        return Unwanted("data_message_too_big")
    if message.startswith("ping"):
        return ForPipecat()
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return Unwanted("unknown_data_message")
    return _message_from_json(fields) or Unwanted("unknown_data_message")


def _message_from_json(fields: Any) -> PageMessage | None:
    """Return a JSON message of one of our kinds, with plausible values; `None` for any other."""
    match fields:
        case {"type": "key", "key": str(key)} if key in KEYS:
            return PageKey(key)
        case {"type": "ear", "turn": int(turn)} if not isinstance(turn, bool):
            return _measurement_from_json(turn, fields) if 1 <= turn <= MAX_TURN else None
        case {
            "type": kind,
            "message": {"type": "trackStatus", "receiver_index": int(index)} as track,
        }:
            valid = kind == SIGNALLING_TYPE and index in range(RECEIVERS)
            return ForPipecat() if valid and isinstance(track.get("enabled"), bool) else None
        case _:
            return None


def _measurement_from_json(turn: int, fields: dict[str, Any]) -> EarMeasured | None:
    """Return a measurement; `None` if one of its durations is missing or implausible."""
    buffer_s, playout_s = (
        _plausible_duration(fields, "buffer_s"),
        _plausible_duration(fields, "playout_s"),
    )
    network_s, made_up_s = (
        _plausible_duration(fields, "network_s"),
        _plausible_duration(fields, "made_up_s"),
    )
    if buffer_s is None or playout_s is None or network_s is None or made_up_s is None:
        return None
    return EarMeasured(
        turn=turn,
        buffer_s=buffer_s,
        playout_s=playout_s,
        network_s=network_s,
        made_up_s=made_up_s,
    )


def _plausible_duration(fields: dict[str, Any], name: str) -> float | None:
    """Return a field that is a plausible duration in seconds; `None` if it is not."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MAX_BUFFERED_S or not math.isfinite(value):
        return None
    return round(float(value), 4)


MESSAGES_PER_S: Final = 10.0  # the page pings once a second
MESSAGES_CAP: Final = 100.0  # more than the keys that a caller enters at once
EARS_PER_S: Final = 0.5  # one for each answer
EARS_CAP: Final = 5.0

Hear: TypeAlias = Callable[[PageKey | EarMeasured], Awaitable[None]]
"""Takes the page's messages."""


class PageMessages:
    """The messages of one call's page, over all its connections.

    Attributes:
        hear: Called with keys and measurements; until it is set, they are dropped.
    """

    def __init__(self, *, emit: Emit, heard: Callable[[], None]) -> None:
        """Start with nothing received.

        Args:
            emit: Publishes events about refused messages.
            heard: Called for every accepted message.
        """
        self.hear: Hear | None = None
        self._emit = emit
        self._heard = heard
        self._reported: set[str] = set()
        self._all = FloodLimit(per_s=MESSAGES_PER_S, cap=MESSAGES_CAP)
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._ears = FloodLimit(per_s=EARS_PER_S, cap=EARS_CAP)

    async def take(self, message: str | bytes) -> bool:
        """Take a message: pass it on, or refuse it; return whether Pipecat should read it.

        An accepted one also counts as a sign of life (`heard`).
        """
        if not await self._all.take(1):
            self.refused("data_messages_too_fast")
            return False
        parsed = read_page_message(message)
        if isinstance(parsed, Unwanted):
            self.refused(parsed.reason)
            return False
        self._heard()
        await self._pass_on(parsed)
        return isinstance(parsed, ForPipecat)

    def refused(self, reason: str) -> None:
        """Report a refused message, once for each reason."""
        if reason not in self._reported:
            self._reported.add(reason)
            self._emit(InputRefused(transport="webrtc", reason=reason))

    async def _pass_on(self, message: PageKey | EarMeasured | ForPipecat) -> None:
        """Call `hear` with a key or measurement; refuse it if there are too many."""
        match message:
            case PageKey() if not await self._keys.take(1):
                self.refused("keys_faster_than_fingers")
            case EarMeasured() if not await self._ears.take(1):
                self.refused("ears_too_often")
            case PageKey() | EarMeasured() if self.hear is not None:
                await self.hear(message)
            case _:
                pass
