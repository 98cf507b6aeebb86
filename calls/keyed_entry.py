"""Collects a caller's keypad digits into one entry, such as a code or a date of birth.

An entry ends with `#`, with a pause, at the greatest length that the tools expect, or at the
maximum length. A `#` as the first key belongs to the entry.
"""

from collections.abc import Collection
from typing import Final

KEYS_SAID: Final = "Keys pressed: "  # the beginning of an entry in the conversation
END_KEY: Final = "#"
MASKED: Final = "*"  # in the record in place of a key, which may belong to a PIN
PAUSE_S: Final = 2.0  # as in Pipecat's DTMF aggregator
MAX_KEYS: Final = 64  # twice the length of an IBAN (chosen)


class KeyedEntry:
    """Collects the keys of one call, and returns each entry when it ends.

        entry = KeyedEntry(lengths=[6])
        entry.press("4", 100.0)  # None
        entry.tick(102.0)  # "4"

    Attributes:
        wake_at: When to call `tick`; `None` without keys.
    """

    def __init__(
        self, lengths: Collection[int] = (), *, unmasked_lengths: Collection[int] | None = None
    ) -> None:
        """Create an empty entry.

        Args:
            lengths: The numbers of digits that the tools expect; an entry ends at the greatest.
            unmasked_lengths: The lengths of entries that are not sensitive, and are recorded
                unmasked; `None` for all of `lengths`.
        """
        self.wake_at: float | None = None
        self._unmasked_lengths = frozenset(
            lengths if unmasked_lengths is None else unmasked_lengths
        )
        self._max_keys = min(max(lengths, default=MAX_KEYS), MAX_KEYS)
        self._keys = ""

    def press(self, key: str, now: float) -> str | None:
        """Add a key; return the entry, without the final `#`, if this key ends it, else `None`."""
        if key == END_KEY and self._keys:
            return self.end()
        self._keys += key
        self.wake_at = now + PAUSE_S
        return self.end() if len(self._keys) >= self._max_keys else None

    def tick(self, now: float) -> str | None:
        """Return the entry if a pause has ended it, else `None`."""
        return self.end() if self.wake_at is not None and now >= self.wake_at else None

    def end(self) -> str:
        """Return the keys so far, and start over."""
        entry, self._keys, self.wake_at = self._keys, "", None
        return entry

    def recorded(self, entry: str) -> str:
        """Return an entry for the record: masked, unless its length is in `unmasked_lengths`."""
        return entry if len(entry) in self._unmasked_lengths else MASKED * len(entry)
