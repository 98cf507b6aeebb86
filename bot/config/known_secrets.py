"""The secrets of this process, by value: noted when they are read, and shown by no text."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

SHORTEST: Final = 8  # characters, chosen: a shorter key would take words out of every line
SHOWN: Final = "[redacted]"


class KnownSecrets:
    """What must not be shown, as it is and as addresses, JSON and headers write it."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._found: re.Pattern[str] | None = None

    @property
    def longest(self) -> int:
        """How many characters the longest one has."""
        return max(map(len, self._values), default=0)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these as well; those that are too short to be told from a word are left out."""
        new = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        if new <= self._values:
            return
        self._values |= new
        longest_first = sorted(self._values, key=len, reverse=True)
        self._found = re.compile("|".join(map(re.escape, longest_first)))

    def forget(self) -> None:
        """Know none."""
        self._values, self._found = frozenset(), None

    def hide(self, text: str) -> str:
        """Return text without any of them."""
        return self._found.sub(SHOWN, text) if self._found else text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode().rstrip("=")


KNOWN: Final = KnownSecrets()
"""Those of this process: the configuration learns them while it is read."""
