"""The names of calls of which no more is kept."""

from typing import Final

MOST: Final = 4096  # half an hour of two calls a second (chosen)


class ForgottenCalls:
    """Knows the latest of them, so that what is told of one late does not begin it anew."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, call_id: str) -> None:
        """Note that a call is forgotten."""
        self._names[call_id] = None
        while len(self._names) > MOST:
            del self._names[next(iter(self._names))]

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._names
