"""Says what happens again and again once a minute, with how often: given `now`, in any seconds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

APART_S: Final = 60.0  # between two lines that say the same
MOST_KINDS: Final = 200  # more kinds than these are not told apart: a stranger may invent some
OTHERS: Final = "others"


@dataclass(slots=True)
class Repeats:
    """What was said lately, and how often it was not said since."""

    _said: dict[str, tuple[float, int]] = field(default_factory=dict)

    def may_say(self, kind: str, now: float) -> bool:
        """Return whether this is to be said now; if not, it is counted."""
        if kind not in self._said and len(self._said) >= MOST_KINDS:
            kind = OTHERS
        said = self._said.get(kind)
        if said is None:
            self._said[kind] = (now, 0)
            return True
        at, times = said
        self._said[kind] = (at, times + 1)
        return False

    def due(self, now: float) -> Iterator[tuple[str, int]]:
        """Yield what was counted a minute ago or longer, with how often; each is new after that."""
        for kind, (at, times) in tuple(self._said.items()):
            if abs(now - at) < APART_S:  # what was said long after now: the clock was set back
                continue
            if times:
                self._said[kind] = (now, 0)
                yield kind, times
            else:
                del self._said[kind]
