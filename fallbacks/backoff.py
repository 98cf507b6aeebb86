"""The waits before reconnecting."""

from typing import Final

WAITS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # before each try (chosen)
STABLE_S: Final = 5.0  # a connection that lasted less does not reset the backoff (chosen)


class Backoff:
    """The waits between the tries of one connection: longer each time, until it is stable.

        backoff = Backoff()
        backoff.next_s()          # 0.0: a connection that was up for long is restored at once
        backoff.next_s()          # 0.5
        backoff.up(now=12.0)
        backoff.down(now=60.0)    # it was stable: the next wait is 0.0 again

    Moments are monotonic, in seconds.
    """

    def __init__(self, *, retries_itself: bool = False) -> None:
        """Prepare.

        Args:
            retries_itself: The service makes the first retry at once, without us.
        """
        self._first = 1 if retries_itself else 0
        self._tries = 1  # a failed first connection is not retried at once
        self._up_at: float | None = None

    def up(self, now: float) -> None:
        """Record that the connection is up."""
        self._up_at = now

    def down(self, now: float, *, permanent: bool = False) -> None:
        """Record that the connection is gone.

        Args:
            now: Monotonic, in seconds.
            permanent: The provider refused it for a reason that does not pass by itself.
        """
        if self._up_at is not None and now - self._up_at > STABLE_S:
            self._tries = self._first
        self._up_at = None
        if permanent:
            self._tries = len(WAITS_S) - 1

    def next_s(self) -> float:
        """Return the wait before the next try, and count that try."""
        wait_s = WAITS_S[min(self._tries, len(WAITS_S) - 1)]
        self._tries += 1
        return wait_s

    def hurried(self) -> None:
        """Take back the last try: its wait was cut short, which is rare and not a failure."""
        self._tries = max(0, self._tries - 1)
