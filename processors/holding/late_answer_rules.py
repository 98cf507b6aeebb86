"""Decides when to speak because an answer is late, and whether to use a filler or a clip.

A filler is due some 1.05 s after the caller stopped, if the answer's first word is neither heard
nor expected soon. If it is expected soon, the filler waits a little. It also waits if a second rung
would still be in time should the first one fail, but never beyond 1.43 s. There is at most one
filler in three turns, and none once the caller speaks again. Where no filler is allowed, a clip is
said a moment later, so that the caller does not wait in silence. From then on the line is never
silent for longer than `silence_s` while an answer is pending or incomplete: the model and the voice
may pause within an answer. Such a pause gets a filler, even if an earlier turn had one.

An answer is pending from the moment the caller stops, even before it is decided whether the turn is
over. If turn detection decides that the caller has not finished, no answer is pending. If silence
then ends the turn after all, a filler is due at once if one is allowed, unless the answer was
prepared in the pause; a clip has the same time as in any other turn. A prepared answer that begins
with a tool call does not count as prepared: the tool, the model and the voice still need more time
than is left of the budget. So a filler is said at once, or a clip within the budget.

An announcement that a stage has no rung left replaces the answer. When the stage is back, the
answer is pending again from the end of the announcement. The same applies while a tool runs:
words before and during the tool call ("let me see", "one moment") are not the answer, which the
model gives after the result.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

# In seconds after the caller's last voiced sample.
FIRST_S: Final = 1.05  # any earlier, a filler would delay an answer that is merely slow
LAST_S: Final = 1.43  # of a budget of 1.5 s; the rest is the time from the line to the ear
CLIP_S: Final = 1.4
# Other durations, in seconds.
LATE_S: Final = 0.1  # how long past its expected time an answer is awaited
PREPARED_S: Final = 0.3  # from a late decision to the first word of a prepared answer
AT_ONCE_S: Final = 0.05  # after a late decision, in which a transfer may announce itself instead
SILENCE_S: Final = 1.9  # 2 s are the limit, and the way to the ear takes 0.06 to 0.08 s
TURNS_APART: Final = 3  # from one turn with a filler to the next


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
    silence_s: float = SILENCE_S  # after the end of the audio on the line
    turns_apart: int = TURNS_APART  # from one turn with a filler to the next


class Holding:
    """Holds the line of one call.

    Attributes:
        pending_since: Since when an answer is pending, or `None`.
        goes_on: Whether an answer has begun to be heard, and is incomplete.
    """

    def __init__(self, settings: HoldSettings | None = None) -> None:
        self.settings = settings or HoldSettings()
        self._turns_since_filler = inf
        self._agent_heard = True  # in this turn; then the caller's next stop begins another turn
        self.pending_since: float | None = None
        self._expected_at: tuple[float, ...] = ()  # times of the first word, the latest first
        self._dry_at: float | None = None  # the end of the speech in this turn; `None` without any
        self._paused_at: float | None = None  # when a silence began that may be only a pause
        self._decided_at: float | None = None  # when such a pause turned out to be the turn's end
        self._tool_first = False  # the prepared answer begins with a tool call
        self.goes_on = False

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, in seconds like its `now`; `None` if nothing may have to be said.

        After speech in this turn, that is when the line has been silent for `silence_s`. Otherwise
        it is when a clip is due, if there was a filler in a recent turn; else when a filler is due.
        """
        waits = self.pending_since is not None or self.goes_on
        if waits and self._dry_at is not None:
            return self._dry_at + self.settings.silence_s
        if self.pending_since is None:
            return None
        decided_at = -inf if self._decided_at is None else self._decided_at
        # The prepared answer begins with a tool call, so its first word cannot be in time.
        hopeless = self._tool_first and self._decided_at is not None
        if self._turns_since_filler < self.settings.turns_apart:
            clip_at = self.pending_since + self.settings.clip_s
            later_s = AT_ONCE_S if hopeless else self.settings.first_s
            return max(clip_at, decided_at + later_s)
        # A filler. It waits for a first word that is expected before the last moment for a filler.
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
        """Start waiting for an answer, from the caller's last voiced sample.

        The first stop after the agent was heard also begins another turn, for `turns_apart`.
        """
        if self._agent_heard:
            self._turns_since_filler += 1
        self._agent_heard = False
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
            at: The time, monotonic in seconds.
            else_at: The time if this rung fails and the next one is asked.
        """
        self._expected_at = (at,) if else_at is None else (else_at, at)

    def taken(self, at: float, *, calls_tool: bool) -> None:
        """Record that the prepared answer is used, and when it should be heard.

        Args:
            at: The time, monotonic in seconds.
            calls_tool: The answer begins with a tool call, so no word of it can be heard yet.
        """
        self._tool_first = calls_tool
        if not calls_tool:
            self.expected(at)

    def answered(
        self, *, pending_from: float | None = None, more_from: float | None = None
    ) -> None:
        """Stop waiting: the answer is being heard, or something was said in its place.

        Args:
            pending_from: If the answer is still pending: the end of what was said in its place.
            more_from: If the answer is incomplete: the end of the part on the line.
        """
        self.pending_since, self._paused_at = pending_from, None
        dry_at = more_from if pending_from is None else pending_from
        self._dry_at = self._dry_at if dry_at is None else dry_at
        self._agent_heard, self.goes_on = True, more_from is not None

    def said(self, dry_at: float) -> None:
        """Record that speech that holds the line is queued, and ends at `dry_at`."""
        self._dry_at = dry_at

    def tick(self, now: float) -> tuple[Say, ...]:
        """Return what to say now, if anything; the caller of `tick` then calls `said`."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        first = self._dry_at is None
        self._agent_heard = True
        self._dry_at = now  # until `said` reports what was queued
        if self.pending_since is None:  # a pause within an answer
            return (Say.FILLER,)
        if first and self._turns_since_filler >= self.settings.turns_apart:
            self._turns_since_filler = 0
            return (Say.FILLER,)
        return (Say.CLIP,)
