"""An attempt in progress, and the times when its silence needs an action.

Its silence is measured on the provider's clock, which stands still while we stall
(`fallbacks/lag.py`).
"""

from dataclasses import dataclass

from fallbacks.attempts import Abandon, Cancel, CancelReason
from fallbacks.deadline import Deadline
from fallbacks.failure import Kind
from fallbacks.ladder import Pace
from fallbacks.lag import Lag


@dataclass(slots=True, kw_only=True)
class Run:
    """One attempt, from its start until it ends or is cancelled, on the provider's clock."""

    attempt: int
    provider: str
    started: float
    last: float  # its silence is counted from here
    patience_s: float  # how long its first output may take
    hedge_at: float | None  # when another is started although this one is not late
    spoke: bool = False
    owes: bool = True  # it has work pending
    late: bool = False
    replaceable: bool = False  # late, with a fresh rung available and no room for a race

    @property
    def kind(self) -> Kind:
        """The kind of failure that its silence is."""
        return Kind.STALLED if self.spoke else Kind.TIMEOUT

    def late_at(self, pace: Pace) -> float:
        """Return when it counts as late, and another is asked as well."""
        return self.last + (pace.gap_s if self.spoke else self.patience_s)

    def give_up_at(self, pace: Pace, until: Deadline, lag: Lag) -> float:
        """Return when a late one is ended: at the deadline, or sooner if another can replace it.

        The deadline is the caller's, and it passes while we stall, too. In that case the sockets
        are read first.
        """
        patient_until = max(self.late_at(pace), self.last + pace.late_max_s)
        at = lag.moment_of(patient_until)
        return at if self.replaceable else max(at, until.at, lag.ready_at)

    def moments(self, pace: Pace, until: Deadline, lag: Lag) -> tuple[float, ...]:
        """Return when it needs an action if it stays silent; on our own clock."""
        if not self.owes:
            return ()
        if self.late:
            return (self.give_up_at(pace, until, lag),)
        hedge = () if self.hedge_at is None else (lag.moment_of(self.hedge_at),)
        return (lag.moment_of(self.late_at(pace)), *hedge)

    def owed(self, now_s: float) -> None:
        """Count its silence from now; if it was already silent, more work changes nothing."""
        if self.owes:
            return
        if self.hedge_at is not None:  # it was waiting, and is asked only now
            self.hedge_at += now_s - self.last
        self.owes, self.last = True, now_s

    def abandoned(self, kind: Kind | None = None, *, now_s: float) -> Abandon:
        """Return the action that ends it as a failure."""
        after_s = now_s - self.started
        return Abandon(
            attempt=self.attempt, provider=self.provider, kind=kind or self.kind, after_s=after_s
        )

    def cancelled(self, because: CancelReason) -> Cancel:
        """Return the action that ends it without a failure."""
        return Cancel(attempt=self.attempt, provider=self.provider, because=because)
