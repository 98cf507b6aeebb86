"""How often a token may be guessed: seldom by one address, and not often by all together."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final

FREE: Final = 5  # wrong tokens of one address that cost nothing: a person mistypes
FIRST_WAIT_S: Final = 1.0  # doubles with each further one
LONGEST_WAIT_S: Final = 60.0
ALL_TOGETHER: Final = 60  # wrong tokens of all addresses in `WINDOW_S`
WINDOW_S: Final = 60.0
FORGET_S: Final = 3600.0
MOST_ADDRESSES: Final = 1_000  # the one that was silent longest is forgotten first
KNOWN_ADDRESSES: Final = 64  # that had the token before, and do not wait for strangers


@dataclass(slots=True)
class Attempts:
    """What is known of those who guess; `now` is handed in, in monotonic seconds."""

    _wrong: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=ALL_TOGETHER))

    def wait_s(self, address: str, now: float) -> float:
        """Return for how long a wrong token of this address is not even counted; 0: it is, now."""
        place = _network(address)
        wrong, at = self._wrong.get(place, (0, now))
        own_s = 0.0
        if wrong > FREE:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong - FREE - 1, 10))
            own_s = at + wait_s - now
        return max(0.0, own_s, 0.0 if place in self._known else self._crowd_s(now))

    def note_wrong(self, address: str, now: float) -> None:
        """Count a wrong token."""
        place = _network(address)
        wrong, at = self._wrong.pop(place, (0, now))
        self._wrong[place] = (wrong + 1 if now - at < FORGET_S else 1, now)
        self._latest.append(now)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def note_right(self, address: str, now: float) -> None:
        """Remember who had the token, unless the address waits: one who guesses may share it."""
        if self.wait_s(address, now):
            return
        place = _network(address)
        self._wrong.pop(place, None)
        self._known.pop(place, None)
        self._known[place] = None
        while len(self._known) > KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    def _crowd_s(self, now: float) -> float:
        full = len(self._latest) == ALL_TOGETHER
        return self._latest[0] + WINDOW_S - now if full else 0.0


def _network(address: str) -> str:
    """Return what one stranger has: an address, or a whole network of the newer kind."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else address
