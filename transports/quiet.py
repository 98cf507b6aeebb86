"""For how long nothing has come over a line."""

from collections.abc import Callable

from transports.leg import Clock


class Quiet:
    """Measures each pause to its end: polling would miss a short one.

    Attributes:
        on_back: Gets the length of each pause when something comes again.
    """

    def __init__(self, clock: Clock) -> None:
        """Wait for the first thing to come, on a clock of monotonic seconds."""
        self._clock = clock
        self.on_back: Callable[[float], None] = lambda _: None
        self._heard_at: float | None = None
        self._expected_at: float | None = None
        self._longest_s = 0.0

    @property
    def now_s(self) -> float:
        """For how long nothing has come; 0 before it is expected, or the first thing has come."""
        since = self._expected_at if self._heard_at is None else self._heard_at
        return 0.0 if since is None else self._clock() - since

    def expect(self) -> None:
        """Expect the first thing from now on; until it has come is no pause that ends."""
        self._expected_at = self._clock()

    def note(self) -> None:
        """Note that something came."""
        if self._heard_at is not None:
            pause_s = self.now_s
            self._longest_s = max(self._longest_s, pause_s)
            self.on_back(pause_s)
        self._heard_at = self._clock()

    def take_longest_s(self) -> float:
        """Return the longest pause that has ended since this was last asked."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s
