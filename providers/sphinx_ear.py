"""The local recogniser's settings and results, as exchanged between processes."""

import dataclasses
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """A recogniser's settings; the paths are pocketsphinx's parameters of the same names.

    Attributes:
        rate_hz: Of the caller's audio: mono, 16-bit, little-endian.
        hmm: Folder of the acoustic model; `None` for the wheel's English one.
        dict: The pronunciations; `None` for the wheel's English ones.
        lm: A language model; `None` for the wheel's general English, unless there is a grammar.
        jsgf: A grammar instead: it lists all phrases.
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
    """A result of the recogniser.

    Attributes:
        what: `ready`, `interim`, `final` or `failed`.
        text: The words; for `failed`, the reason.
        confidence: 0 to 1, of a final.
        alternatives: Other readings of a final.
        finished: The final answers a finish; otherwise the utterance grew too long.
        quiet: How much the audio around the words resembles silence: log likelihood a frame, about
            -2; below -3 something else was said there.
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
