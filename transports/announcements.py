"""The sentences that a carrier says for us to a caller whose call has no seat."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A sentence that the carrier says to a caller in its own voice.

    Attributes:
        text: The sentence.
        language: Its language with a region, as carriers expect it: `de-DE`.
        asks_again: Whether the carrier asks us for instructions afterwards; otherwise the call
            ends.
    """

    text: str
    language: str
    asks_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCall:
    """A call that has lost its process and finds no seat.

    Attributes:
        call_id: Its id in the record; another unique id if it had not begun.
        number: The number of the other party; empty if it is unknown.
        language: The language of the call; empty if it had not begun.
    """

    call_id: str
    number: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingAnswers:
    """The program's answers to calls that have lost their process and find no seat.

    Attributes:
        wait: Returns the sentence that asks the caller to wait.
        call_back: Stores a request for a callback; returns the last sentence of the call, also if
            that failed. Never raises.
    """

    wait: Callable[[WaitingCall], Announcement]
    call_back: Callable[[WaitingCall], Awaitable[Announcement]]
