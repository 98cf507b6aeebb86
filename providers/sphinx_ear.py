"""What the local recogniser is made of, and what it says; both travel between processes."""

import dataclasses
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """What a recogniser is made of; the paths are pocketsphinx's parameters of the same names.

    Attributes:
        rate_hz: Of the caller's audio: mono, 16-bit, little-endian.
        hmm: Folder of the acoustic model; None: the wheel's English one.
        dict: The pronunciations; None: the wheel's, of English.
        lm: A language model; None: the wheel's, of general English, unless there is a grammar.
        jsgf: A grammar in its place: the only phrases there are.
    """

    rate_hz: int
    hmm: str | None = None
    dict: str | None = None
    lm: str | None = None
    jsgf: str | None = None

    def as_json(self) -> bytes:
        """Return it as the worker's first message."""
        return json.dumps(dataclasses.asdict(self)).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SphinxResult:
    """Something the recogniser has to say.

    Attributes:
        what: `ready`, `interim`, `final` or `failed`.
        text: The words; of `failed`, the reason.
        confidence: 0 to 1, of a final.
        alternatives: Other readings of a final.
        finished: The final is the answer to a finish; otherwise the utterance grew too long.
        quiet: How much what lies around the words is like silence: log likelihood a frame, about
            -2; below -3 something was said there that is none of the words.
    """

    what: str
    text: str = ""
    confidence: float = 0.0
    alternatives: tuple[str, ...] = ()
    finished: bool = False
    quiet: float = 0.0

    def as_json(self) -> bytes:
        """Return it as one line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> "SphinxResult":
        """Return what `as_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "alternatives": tuple(fields["alternatives"])})
