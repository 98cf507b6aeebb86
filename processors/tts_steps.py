"""What an utterance wants done: by the rungs, and for the line."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Have a rung begin to speak for an attempt."""

    provider: str
    attempt: int
    text: str
    closed: bool  # nothing follows


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Give a rung that speaks already more text."""

    provider: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Tell a rung that no more text follows."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """End what a rung is doing."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Won:
    """This rung is heard from here on."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Let sound go to the line."""

    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A word counts as heard once the line has played what was let go before this."""

    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """Nothing more comes; what no voice could say is `unsaid`."""

    unsaid: str


Do: TypeAlias = Ask | More | Close | Mute | Won | Play | Said | Over
