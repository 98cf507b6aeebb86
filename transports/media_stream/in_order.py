"""Pieces of sound in the order in which they were spoken, where a carrier may mix them up."""

from typing import Final, Generic, TypeVar

Piece = TypeVar("Piece")

PATIENCE: Final = 5  # pieces of 20 ms that may overtake one: 0.1 s, as a jitter buffer waits
FAR: Final = 500  # 10 s of pieces: no piece comes so late; the far end counts anew


class InOrder(Generic[Piece]):
    """Gives out pieces by their numbers.

    One that is missing is waited for while `PATIENCE` others come, and then given up; one that
    comes after it was given up, or twice, is dropped. A number far away begins a new count.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._early: dict[int, Piece] = {}

    def add(self, piece: Piece, place: int) -> list[Piece]:
        """Return what may be heard now that this piece has come, in order."""
        if self._next is None or abs(place - self._next) > FAR:
            self._early.clear()
            self._next = place
        if place < self._next:
            return []
        self._early[place] = piece
        if self._next not in self._early and len(self._early) > PATIENCE:
            self._next = min(self._early)
        return self._ready(self._next)

    def _ready(self, place: int) -> list[Piece]:
        found: list[Piece] = []
        while place in self._early:
            found.append(self._early.pop(place))
            place += 1
        self._next = place
        return found
