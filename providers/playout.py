"""When audio that is handed on faster than real time will be heard."""


class Playout:
    """The line's future: each piece of audio begins when the one before it ends, or now."""

    def __init__(self) -> None:
        self._free_at_ns = 0

    def add(self, now_ns: int, *, duration_s: float) -> int:
        """Append audio and return when it begins, in nanoseconds on the clock of `now_ns`."""
        begins_ns = max(self._free_at_ns, now_ns)
        self._free_at_ns = begins_ns + round(duration_s * 1e9)
        return begins_ns

    def clear(self) -> None:
        """Forget what was still to be heard: it was dropped."""
        self._free_at_ns = 0
