"""Whether to say something because an answer is late, and what sort of thing.

A filler comes when no first word has been heard some 1.05 s after the caller stopped and none is
expected soon; it is waited for a little when one is, or when another would still come in time if
that one did not, but not beyond 1.43 s. There is one filler a turn at most, none in two turns of
three, and none once the caller has begun to speak again. Where a filler may not be, a clip is said
a moment later, so that no caller waits in silence. From then on the line is never silent for longer
than `silence_s` while an answer is owed, or while one that has begun is not complete: model and
voice may pause in the middle of it, and a filler is said there whatever the turns before had.

An answer is owed from the caller's stop on, even while it is being decided whether the turn is
over. A pause that turn detection takes for no end owes nothing yet. When it was an end after all, a
filler is due at once if there may be one, unless the answer was prepared in the pause; a clip has
the time that it has in any other turn. A prepared answer that begins with a tool is no such answer:
the tool, the model and the voice are still to come, and take longer than the budget has left by
then. So a filler is said at once before it, or a clip within the budget.

What is said while a stage has nobody left stands for the answer. When the stage is back, the answer
is owed again, behind what was said. So it is while a tool works: what is heard before it or
meanwhile ("let me see", "one moment") is not the answer, which the model gives behind the result.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

FIRST_S: Final = 1.05  # sooner, an answer that is merely slow would be delayed by a filler
LAST_S: Final = 1.43  # leaves a budget of 1.5 s the time that it takes to the ear
CLIP_S: Final = 1.4
LATE_S: Final = 0.1  # what was expected and is later than that is not waited for any longer
PREPARED_S: Final = 0.3  # from a late decision to the first word of an answer that is there already
AT_ONCE_S: Final = 0.05  # behind a late decision: a caller who is handed on hears that instead
SILENCE_S: Final = 1.9  # 2 s are the most, and to the ear it takes 0.06 to 0.08 s
TURNS_APART: Final = 3


class Say(StrEnum):
    """What holds the line."""

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
    """Which turns may have a filler: one of so many in a row, and that one once."""

    def __init__(self, apart: int) -> None:
        self._apart = apart  # from one to the next
        self._turn = 0
        self._last: int | None = None  # the turn that had one

    @property
    def allowed(self) -> bool:
        """Whether this turn may have one."""
        return self._last is None or self._turn - self._last >= self._apart

    def begin(self) -> None:
        """Note that the next turn has begun."""
        self._turn += 1

    def spend(self) -> None:
        """Note that this turn has had one."""
        self._last = self._turn


class Holding:
    """Holds the line of one call.

    Attributes:
        owed_since: An answer is owed, and has been since then; None: none is.
        goes_on: An answer is heard, and is not complete.
    """

    def __init__(self, settings: HoldSettings | None = None) -> None:
        self.settings = settings or HoldSettings()
        self._fillers = FillerTurns(self.settings.turns_apart)
        self._met = True  # something was heard in this turn: the next stop is another turn's
        self.owed_since: float | None = None
        self._expected_at: tuple[float, ...] = ()  # when its first word should be, latest first
        self._dry_at: float | None = None  # something was said in this turn, until then
        self._paused_at: float | None = None  # the caller was silent since, and may go on
        self._decided_at: float | None = None  # when such a pause was found to be the end
        self._tool_first = False  # the prepared answer begins with one
        self.goes_on = False

    @property
    def wake_at(self) -> float | None:
        """The moment at which `tick` has something to do, or None."""
        waits = self.owed_since is not None or self.goes_on
        if waits and self._dry_at is not None:
            return self._dry_at + self.settings.silence_s
        if self.owed_since is None:
            return None
        decided_at = -inf if self._decided_at is None else self._decided_at
        hopeless = self._tool_first and self._decided_at is not None
        if not self._fillers.allowed:
            clip_at = self.owed_since + self.settings.clip_s
            later_s = AT_ONCE_S if hopeless else self.settings.first_s
            return max(clip_at, decided_at + later_s)
        first_at = max(self.owed_since + self.settings.first_s, decided_at + AT_ONCE_S)
        last_at = max(self.owed_since + self.settings.last_s, decided_at + PREPARED_S)
        expected = () if hopeless else self._expected_at
        expected_at = next((item for item in expected if item <= last_at), None)
        if expected_at is None:
            return first_at
        return max(first_at, min(expected_at + LATE_S, last_at))

    @property
    def held(self) -> bool:
        """Whether something was said in place of the answer that is still owed."""
        return self.owed_since is not None and self._dry_at is not None

    def caller_stopped(self, at: float) -> None:
        """An answer is owed, since the caller's last voiced sample."""
        if self._met:
            self._fillers.begin()
        self._met = False
        self.owed_since, self._expected_at, self._dry_at = at, (), None
        self._paused_at = self._decided_at = None
        self._tool_first = self.goes_on = False

    def owe_nothing(self) -> None:
        """The caller speaks, or has said nothing: there is nothing to speak for."""
        self.owed_since = self._paused_at = None
        self.goes_on = False

    def paused(self) -> None:
        """The caller does not seem to have finished: nothing is owed yet."""
        if self.owed_since is not None:
            self.owed_since, self._paused_at = None, self.owed_since

    def decided(self, at: float) -> None:
        """It is our turn to speak; of interest after a pause that did not look like it."""
        if self._paused_at is not None:
            self.owed_since, self._paused_at, self._decided_at = self._paused_at, None, at

    def expected(self, at: float, *, else_at: float | None = None) -> None:
        """The answer's first word should be heard at this moment: somebody is at work on it.

        Args:
            at: When.
            else_at: If nothing comes of that, when the next one's should be.
        """
        self._expected_at = (at,) if else_at is None else (else_at, at)

    def taken(self, at: float, *, calls_tool: bool) -> None:
        """The answer that was prepared is the one: it should be heard at this moment.

        Args:
            at: When.
            calls_tool: It begins with a tool: nothing of it can be heard yet.
        """
        self._tool_first = calls_tool
        if not calls_tool:
            self.expected(at)

    def answered(self, *, owed_from: float | None = None, more_from: float | None = None) -> None:
        """The answer is being heard, or something was said in its place: nothing is owed.

        Args:
            owed_from: It is to come after all; when what was said in its place ends. None: no.
            more_from: It is not complete; when what is there of it ends. None: it is.
        """
        self.owed_since, self._paused_at = owed_from, None
        dry_at = more_from if owed_from is None else owed_from
        self._dry_at = self._dry_at if dry_at is None else dry_at
        self._met, self.goes_on = True, more_from is not None

    def said(self, dry_at: float) -> None:
        """Something that holds the line is queued, and ends at `dry_at`."""
        self._dry_at = dry_at

    def tick(self, now: float) -> tuple[Say, ...]:
        """Return what to say now; report with `said` when the line runs dry again."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        first = self._dry_at is None
        self._met = True
        self._dry_at = now  # until it is told what was queued
        if self.owed_since is None:
            return (Say.FILLER,)
        if first and self._fillers.allowed:
            self._fillers.spend()
            return (Say.FILLER,)
        return (Say.CLIP,)
