"""Decides when to speak because an answer is late, and whether to use a filler or a clip.

A filler is due when no first word has been heard some 1.05 s after the caller stopped, and none is
expected soon. If one is expected, the filler waits a little. It also waits if another rung would
still be in time after the first one's failure, but never beyond 1.43 s. There is at most one filler
in a turn, none in two turns of three, and none once the caller speaks again. Where no filler is
allowed, a clip is said a moment later, so that no caller waits in silence. From then on the line is
never silent for longer than `silence_s` while an answer is pending, or while one that has begun is
incomplete: model and voice may pause in the middle of it, and a filler is said there whatever the
turns before had.

An answer is pending from the caller's stop on, even before it is decided whether the turn is over.
A pause that turn detection takes for unfinished makes no answer pending. If it was the end after
all, a filler is due at once if one is allowed, unless the answer was prepared in the pause; a clip
has the same time as in any other turn. A prepared answer that begins with a tool call does not
count as prepared: the tool, the model and the voice are still to come, and take longer than the
budget has left by then. So a filler is said at once before it, or a clip within the budget.

What is said while a stage has no rung left replaces the answer. When the stage is back, the answer
is pending again, after what was said. The same applies while a tool runs: what is heard before it
or meanwhile ("let me see", "one moment") is not the answer, which the model gives after the result.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

FIRST_S: Final = 1.05  # any earlier, a filler would delay an answer that is merely slow
LAST_S: Final = 1.43  # leaves a budget of 1.5 s the time from the line to the ear
CLIP_S: Final = 1.4
LATE_S: Final = 0.1  # an expected answer that is later than this is not waited for
PREPARED_S: Final = 0.3  # from a late decision to the first word of a prepared answer
AT_ONCE_S: Final = 0.05  # after a late decision: a caller who is transferred hears that instead
SILENCE_S: Final = 1.9  # 2 s are the limit, and the way to the ear takes 0.06 to 0.08 s
TURNS_APART: Final = 3


class Say(StrEnum):
    """The speech that holds the line."""

    FILLER = "filler"  # a word or two, such as "Okay"
    CLIP = "clip"  # a sentence that fits the situation


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSettings:
    """When the line is held, in seconds since the caller's last voiced sample."""

    first_s: float = FIRST_S
    last_s: float = LAST_S
    clip_s: float = CLIP_S
    silence_s: float = SILENCE_S  # since the line ran dry
    turns_apart: int = TURNS_APART  # from one filler to the next


class FillerTurns:
    """Decides which turns may have a filler: one in `apart` turns, and once in that turn."""

    def __init__(self, apart: int) -> None:
        self._apart = apart  # turns from one filler to the next
        self._turn = 0
        self._last: int | None = None  # the turn that had one

    @property
    def allowed(self) -> bool:
        """Whether this turn may have one."""
        return self._last is None or self._turn - self._last >= self._apart

    def begin(self) -> None:
        """Count the next turn."""
        self._turn += 1

    def spend(self) -> None:
        """Record that this turn has had a filler."""
        self._last = self._turn


class Holding:
    """Holds the line of one call.

    Attributes:
        pending_since: Since when an answer is pending, or `None`.
        goes_on: An answer is being heard, and is incomplete.
    """

    def __init__(self, settings: HoldSettings | None = None) -> None:
        self.settings = settings or HoldSettings()
        self._fillers = FillerTurns(self.settings.turns_apart)
        self._met = True  # something was heard in this turn: the next stop begins another
        self.pending_since: float | None = None
        self._expected_at: tuple[float, ...] = ()  # of the first word, latest first
        self._dry_at: float | None = None  # the end of what was said in this turn
        self._paused_at: float | None = None  # the caller's silence began, and may be a pause
        self._decided_at: float | None = None  # when such a pause turned out to be the end
        self._tool_first = False  # the prepared answer begins with a tool call
        self.goes_on = False

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        waits = self.pending_since is not None or self.goes_on
        if waits and self._dry_at is not None:
            return self._dry_at + self.settings.silence_s
        if self.pending_since is None:
            return None
        decided_at = -inf if self._decided_at is None else self._decided_at
        hopeless = self._tool_first and self._decided_at is not None
        if not self._fillers.allowed:
            clip_at = self.pending_since + self.settings.clip_s
            later_s = AT_ONCE_S if hopeless else self.settings.first_s
            return max(clip_at, decided_at + later_s)
        first_at = max(self.pending_since + self.settings.first_s, decided_at + AT_ONCE_S)
        last_at = max(self.pending_since + self.settings.last_s, decided_at + PREPARED_S)
        expected = () if hopeless else self._expected_at
        expected_at = next((item for item in expected if item <= last_at), None)
        if expected_at is None:
            return first_at
        return max(first_at, min(expected_at + LATE_S, last_at))

    @property
    def held(self) -> bool:
        """Whether something was said in place of an answer that is still pending."""
        return self.pending_since is not None and self._dry_at is not None

    def caller_stopped(self, at: float) -> None:
        """Start waiting for an answer, from the caller's last voiced sample."""
        if self._met:
            self._fillers.begin()
        self._met = False
        self.pending_since, self._expected_at, self._dry_at = at, (), None
        self._paused_at = self._decided_at = None
        self._tool_first = self.goes_on = False

    def expect_nothing(self) -> None:
        """Stop waiting: the caller speaks, or has said nothing."""
        self.pending_since = self._paused_at = None
        self.goes_on = False

    def paused(self) -> None:
        """Suspend waiting: the caller does not seem to have finished."""
        if self.pending_since is not None:
            self.pending_since, self._paused_at = None, self.pending_since

    def decided(self, at: float) -> None:
        """Resume waiting after a pause: the turn is over."""
        if self._paused_at is not None:
            self.pending_since, self._paused_at, self._decided_at = self._paused_at, None, at

    def expected(self, at: float, *, else_at: float | None = None) -> None:
        """Record when the answer's first word should be heard, by a rung at work on it.

        Args:
            at: When.
            else_at: When the next rung's should be, if that one fails.
        """
        self._expected_at = (at,) if else_at is None else (else_at, at)

    def taken(self, at: float, *, calls_tool: bool) -> None:
        """Record that the prepared answer is used, and when it should be heard.

        Args:
            at: When.
            calls_tool: It begins with a tool call, so nothing of it can be heard yet.
        """
        self._tool_first = calls_tool
        if not calls_tool:
            self.expected(at)

    def answered(
        self, *, pending_from: float | None = None, more_from: float | None = None
    ) -> None:
        """Stop waiting: the answer is being heard, or something was said in its place.

        Args:
            pending_from: The end of what was said in its place, if the answer is still pending.
            more_from: The end of the part that is there, if the answer is incomplete.
        """
        self.pending_since, self._paused_at = pending_from, None
        dry_at = more_from if pending_from is None else pending_from
        self._dry_at = self._dry_at if dry_at is None else dry_at
        self._met, self.goes_on = True, more_from is not None

    def said(self, dry_at: float) -> None:
        """Record that speech which holds the line is queued, and ends at `dry_at`."""
        self._dry_at = dry_at

    def tick(self, now: float) -> tuple[Say, ...]:
        """Return what to say now; report with `said` when the line will run dry."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        first = self._dry_at is None
        self._met = True
        self._dry_at = now  # until `said` reports what was queued
        if self.pending_since is None:
            return (Say.FILLER,)
        if first and self._fillers.allowed:
            self._fillers.spend()
            return (Say.FILLER,)
        return (Say.CLIP,)
