"""The values of this process's secrets, collected as they are read, to redact them in any text."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

MIN_CHARACTERS: Final = 8  # chosen: shorter values would match ordinary words
SHOWN: Final = "[redacted]"


class KnownSecrets:
    """Values that must not be shown, in plain text or as encoded in URLs, JSON and headers.

    Attributes:
        region: `server.region`, whose national notation of telephone numbers is masked as well;
            empty if not set.
    """

    def __init__(self) -> None:
        self.region = ""
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    @property
    def longest(self) -> int:
        """The length of the longest value, in characters."""
        return max(map(len, self._values), default=0)

    def learn(self, secrets: Iterable[str], *, region: str = "") -> None:
        """Add secrets of `MIN_CHARACTERS` or more, and set the region unless it is empty.

        Secrets that were added before stay, also those of a configuration that was replaced.
        """
        self.region = region or self.region
        new = {
            form
            for secret in secrets
            if len(secret) >= MIN_CHARACTERS
            for form in _encodings_of_secret(secret)
        }
        if new <= self._values:
            return
        self._values |= new
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def forget(self) -> None:
        """Remove all secrets and the region."""
        self.region = ""
        self._values, self._pattern = frozenset(), None

    def hide(self, text: str) -> str:
        """Return text with all secrets replaced."""
        return self._pattern.sub(SHOWN, text) if self._pattern else text


def _encodings_of_secret(secret: str) -> Iterator[str]:
    """Yield a secret as it appears in plain text, URLs, JSON and basic authentication."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode().rstrip("=")


KNOWN: Final = KnownSecrets()
"""The secrets of this process; the configuration adds them while it is read."""
