"""The local recogniser's settings and results, as exchanged between processes."""

import dataclasses
import importlib.util
import json
from dataclasses import dataclass
from typing import Final

from runtime.exits import install_command

PACKAGE: Final = "pocketsphinx"
NOT_INSTALLED: Final = (
    f"needs the package {PACKAGE}, which is not installed: "
    f"use Python 3.11 to 3.13 with the extra `words` ({install_command('holdline[words]')}), or, "
    f"with a C compiler, {install_command(PACKAGE)}"
)


def is_installed() -> bool:
    """Return whether the recogniser's package is installed; it has no wheel for some platforms."""
    return importlib.util.find_spec(PACKAGE) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """A recogniser's settings; the paths are pocketsphinx's parameters of the same names.

    Attributes:
        rate_hz: The sample rate of the audio, which is mono, 16-bit, little-endian.
        hmm: The folder of the acoustic model; `None` for the wheel's English model.
        dict: The pronunciation dictionary; `None` for the wheel's English dictionary.
        lm: A language model; `None` for the wheel's English model, unless there is a grammar.
        jsgf: A grammar of all phrases, instead of a language model.
    """

    rate_hz: int
    hmm: str | None = None
    dict: str | None = None
    lm: str | None = None
    jsgf: str | None = None

    def as_json(self) -> bytes:
        """Encode the settings for the worker's first command."""
        return json.dumps(dataclasses.asdict(self)).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SphinxResult:
    """A result of the recogniser.

    Attributes:
        what: `ready`, `interim`, `final` or `failed`.
        text: The words; for `failed`, the reason.
        confidence: 0 to 1; only for `final`.
        alternatives: Other readings; only for `final`.
        finished: Whether a `final` answers a finish; if not, the utterance grew too long.
        quiet: How much the audio around the words resembles silence, as log likelihood per frame:
            about -2; below -3 there was other speech.
    """

    what: str
    text: str = ""
    confidence: float = 0.0
    alternatives: tuple[str, ...] = ()
    finished: bool = False
    quiet: float = 0.0

    def as_json(self) -> bytes:
        """Encode the result as one line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> "SphinxResult":
        """Decode a line that `as_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "alternatives": tuple(fields["alternatives"])})
