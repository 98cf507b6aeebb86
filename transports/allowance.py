"""How much a far end may send: a bucket that fills as time passes."""


class Allowance:
    """Grants what arrives at its natural rate, and refuses a flood.

    A genuine far end that was held up delivers what it owes in one piece; `cap` is as much
    of that as we take. What is refused must be dropped by the one who asked: Pipecat's own
    queues have no bound.
    """

    def __init__(self, *, per_s: float, cap: float, now: float) -> None:
        """Start with a full bucket.

        Args:
            per_s: What one second of time grants, in the unit of `take`.
            cap: The most that can be saved up.
            now: Monotonic seconds.
        """
        self._per_s = per_s
        self._cap = cap
        self._left = cap
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Return whether `amount` may pass, and count it if so."""
        self._left = min(self._cap, self._left + (now - self._at) * self._per_s)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True
