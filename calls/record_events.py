"""The facts of what is written down: that a disk takes nothing, and that it does again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesRefused:
    """A disk takes nothing of the record any more; what is told waits in memory, calls go on."""

    where: str  # logs
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesResumed:
    """It takes what is written again; what waited is there."""

    where: str
    lost: int  # of what waited, since the process began: more came than may wait
