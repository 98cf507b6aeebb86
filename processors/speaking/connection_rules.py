"""The connection to one voice: whether it is up, and how long an attempt may wait for it."""

from typing import Final

from fallbacks.failure import Failure, Kind, failed
from fallbacks.lag import Lag

CONNECT_S: Final = 0.3  # a turn waits no longer for a handshake: a failed rung may cost 0.4 s
COLD_S: Final = 1.0  # for a cold one's first: name, TCP, TLS and upgrade across an ocean (chosen)


class Connection:
    """What is known of it. Moments are monotonic, in seconds; our own stalls count as no waiting.

    Attributes:
        up: It is made.
        cold: It is made for the first time, or anew at our wish: an attempt waits for it longer.
        settling: New settings may make the service connect anew.
    """

    def __init__(self, provider: str, *, lag: Lag | None = None) -> None:
        self.up = False
        self.cold = False
        self.settling = False
        self._provider = provider
        self._lag = lag or Lag()
        self._connecting_at: float | None = None  # on the provider's clock
        self._failure: Failure | None = None
        self._reported = False  # that the last try failed, to an attempt

    @property
    def in_the_making(self) -> bool:
        """Whether it is being made."""
        return self._connecting_at is not None

    def report_hang(self) -> Failure:
        """Return the failure of an attempt that waited too long for it."""
        self._reported = True
        reason = "no connection in time"
        return failed(Kind.TIMEOUT, "tts", provider=self._provider, reason=reason)

    def began(self, now: float) -> None:
        """Note that it is being made."""
        self._connecting_at, self.up = self._lag.provider_s(now), False
        self._reported = False
        if self.settling:  # at our wish: it is waited for like a cold one, and not doubted
            self.cold, self.settling = True, False

    def made(self, *, waited_for: bool) -> None:
        """Note that it is up; the work that waited for it has yet to begin."""
        self._connecting_at, self.up, self._failure = None, True, None
        self.cold = self.cold and waited_for

    def refused(self, failure: Failure, *, waited_for: bool) -> None:
        """Note why it cannot be made; an attempt that waited for it gets the failure at once."""
        self._connecting_at, self.up, self._failure = None, False, failure
        self._reported = self._reported or waited_for
        self.cold = False

    def lost(self) -> None:
        """Note that it is gone."""
        self._connecting_at, self.up, self._failure = None, False, None

    def report_failure(self, now: float) -> Failure | None:
        """Return why nothing can come of an attempt now; a refusal is returned once.

        It is returned once so that another can speak at once. Work that asks again has no other
        rung, and one failed try is not counted twice, whether an attempt waited for it or came
        later: then a new connection is tried, and waited for.
        """
        if self._connecting_at is not None:
            hangs = self.wait_until_s(now) <= self._lag.provider_s(now)
            return self.report_hang() if hangs else None
        failure = None if self._reported else self._failure
        self._reported = self._reported or failure is not None
        return failure

    def wait_until_s(self, now: float) -> float:
        """Return how long an attempt may wait for it, on the provider's clock."""
        begun_at = self._connecting_at
        return (self._lag.provider_s(now) if begun_at is None else begun_at) + self._patience_s

    @property
    def _patience_s(self) -> float:
        return COLD_S if self.cold else CONNECT_S
