"""An attempt under way, and the moments at which its silence becomes somebody's business.

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
    """One attempt, from its start until it is called off or over, on the provider's clock."""

    attempt: int
    provider: str
    started: float
    last: float  # the moment its silence is counted from
    patience_s: float  # how long its first output may take
    hedge_at: float | None  # when another is started before this one is late
    spoke: bool = False
    owes: bool = True  # something is asked of it
    late: bool = False
    replaceable: bool = False  # late, another rung stands ready, and there was no room for a race

    @property
    def kind(self) -> Kind:
        """What its silence is."""
        return Kind.STALLED if self.spoke else Kind.TIMEOUT

    def late_at(self, pace: Pace) -> float:
        """When its silence has lasted so long that another is asked as well."""
        return self.last + (pace.gap_s if self.spoke else self.patience_s)

    def give_up_at(self, pace: Pace, until: Deadline, lag: Lag) -> float:
        """When a late one is ended: at the deadline, or sooner if another is to take its place.

        The deadline is the caller's, and passes while we stall, too. Then what lies in the sockets
        is read first.
        """
        patient_until = max(self.late_at(pace), self.last + pace.late_max_s)
        at = lag.moment_of(patient_until)
        return at if self.replaceable else max(at, until.at, lag.ready_at)

    def moments(self, pace: Pace, until: Deadline, lag: Lag) -> tuple[float, ...]:
        """When something is to be done about it, if it says nothing; on our own clock."""
        if not self.owes:
            return ()
        if self.late:
            return (self.give_up_at(pace, until, lag),)
        hedge = () if self.hedge_at is None else (lag.moment_of(self.hedge_at),)
        return (lag.moment_of(self.late_at(pace)), *hedge)

    def owed(self, now_s: float) -> None:
        """Count its silence from now; more work for one who is silent already changes nothing."""
        if self.owes:
            return
        if self.hedge_at is not None:  # it waited, and was not asked before now
            self.hedge_at += now_s - self.last
        self.owes, self.last = True, now_s

    def abandoned(self, kind: Kind | None = None, *, now_s: float) -> Abandon:
        """Return the action that ends it as a failure."""
        after_s = now_s - self.started
        return Abandon(
            attempt=self.attempt, provider=self.provider, kind=kind or self.kind, after_s=after_s
        )

    def cancelled(self, because: CancelReason) -> Cancel:
        """Return the action that ends it as nothing."""
        return Cancel(attempt=self.attempt, provider=self.provider, because=because)
