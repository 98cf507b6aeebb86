"""Problems of a configuration, one line each, without secrets."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Key: TypeAlias = tuple[str | int, ...]
"""Path of a value: `("stages", "tts", 1, "kind")`."""

MASK: Final = "********"
MAX_CHARACTERS: Final = 60  # of a value shown in a message
SECRET_KEY: Final = re.compile(
    r"(^|[_-])((api|access|private|secret|subscription)[_-]?key|(auth|access|bot)?[_-]?token"
    r"|(api[_-]?)?secret|passw(or)?d|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
SECRET_VALUE: Final = re.compile(  # the prefixes of OpenAI, ElevenLabs, Cartesia, Slack and GitHub
    r"\b(sk[-_][A-Za-z0-9_-]{12,}|xox[a-z]-[A-Za-z0-9-]{10,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|Bearer\s+\S{8,})"
)
SECRET_IN_URL: Final = re.compile(
    r"(?P<before>://[^/@\s:]*:)(?!\d{1,5}/)[^\s\"]+(?=@)"  # may contain `/`, but is not a port
    r"|(?P<named>[?&](?:api_?key|key|\w*token|secret|password)=)[^&\s\"]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem that the owner must fix."""

    where: str  # `holdline.yaml:14`, `environment HOLDLINE__AGENT__NAME`, `flag --port`
    text: str
    key: Key = ()
    absent: bool = False  # whether a secret's variable is not set

    @property
    def line(self) -> str:
        """Return the problem as one line."""
        return " ".join(f"{self.where}: {self.text}".split())


class ConfigError(Exception):
    """An unusable configuration, with all its problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.line for problem in self.problems))


def dotted(key: Key) -> str:
    """Return a key as it is written in messages: `stages.tts[1].kind`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; `None` if none is similar."""
    lower = {text.lower(): text for text in known}
    found = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def is_secret(key: Key) -> bool:
    """Return whether a value under this key would be a secret."""
    return bool(key) and isinstance(key[-1], str) and bool(SECRET_KEY.search(key[-1]))


def without_secrets(text: str) -> str:
    """Return the text with everything that looks like a key or a password masked."""
    text = SECRET_IN_URL.sub(lambda found: (found["before"] or found["named"]) + MASK, text)
    return SECRET_VALUE.sub(MASK, text)


def shown(value: Any, key: Key = ()) -> str:
    """Return a value as JSON for messages: shortened, secrets masked; a list only as "a list"."""
    if is_secret(key):
        return MASK
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "empty"
    text = without_secrets(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
