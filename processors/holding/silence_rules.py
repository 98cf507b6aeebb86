"""Decides what to say to a silent caller, and when an overlong call ends.

The caller's time runs only while no one speaks and no work is in progress: not while the agent
speaks or the model thinks. Any sound of the caller restarts it, and resets the count of prompts.
Each time it runs out, the caller gets the next prompt; after the last one comes the goodbye, once.
Work that never ends stops counting after `work_limit_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

WORK_LIMIT_S: Final = 15.0
"""The longest work that excuses silence: three times a tool's usual 5 s (chosen)."""


class SilenceSign(StrEnum):
    """The inputs of the silence rule."""

    CALLER = "caller"  # any sound, or a key
    CALLER_STOPPED = "caller_stopped"
    AGENT = "agent"
    AGENT_STOPPED = "agent_stopped"
    WORK = "work"  # a model or a tool was asked
    WORK_DONE = "work_done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Ask whether the caller is still there."""

    words: str
    prompts: int  # spoken so far, including this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """Say the last words and hang up."""

    reason: str  # silence, max_length
    words: str


Step: TypeAlias = Prompt | Goodbye


class Silence:
    """Prompts a silent caller, prompts again, then says goodbye."""

    def __init__(
        self,
        *,
        prompt_after_s: float,
        prompts: Sequence[str],
        goodbye: str,
        work_limit_s: float = WORK_LIMIT_S,
    ) -> None:
        self.prompts = 0
        self._after_s = prompt_after_s
        self._prompts = tuple(prompts)
        self._goodbye = goodbye
        self._work_limit_s = work_limit_s
        self._caller_speaks = self._agent_speaks = self._over = False
        self._work = 0
        self._since: float | None = None  # the time of the last sign

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self._since is None or self._over or self._caller_speaks or self._agent_speaks:
            return None
        return self._since + self._after_s + (self._work_limit_s if self._work else 0.0)

    def start(self, now: float) -> None:
        """Begin to count, after time for the line to be connected and the greeting to be spoken."""
        self._since = now + self._work_limit_s

    def handle(self, heard: SilenceSign, now: float) -> None:
        """Record a sign."""
        self._since = now
        match heard:
            case SilenceSign.CALLER:
                self._caller_speaks, self.prompts, self._over = True, 0, False
            case SilenceSign.CALLER_STOPPED:
                self._caller_speaks = False
            case SilenceSign.AGENT:
                self._agent_speaks = True
            case SilenceSign.AGENT_STOPPED:
                self._agent_speaks = False
            case SilenceSign.WORK:
                self._work += 1
            case SilenceSign.WORK_DONE:
                self._work = max(0, self._work - 1)

    def forget_work(self) -> None:
        """Reset the work in progress: the caller spoke, and all of it was dropped."""
        self._work = 0

    def tick(self, now: float) -> tuple[Step, ...]:
        """Return what to say when the caller's time has run out."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self._since, self._work = now, 0
        if self.prompts < len(self._prompts):
            self.prompts += 1
            return (Prompt(words=self._prompts[self.prompts - 1], prompts=self.prompts),)
        self._over = True
        return (Goodbye(reason="silence", words=self._goodbye),)


class CallLength:
    """Ends an overlong call politely, once."""

    def __init__(self, *, max_call_s: float, words: str) -> None:
        self.wake_at: float | None = None
        self._max_call_s = max_call_s
        self._words = words

    def start(self, now: float) -> None:
        """Begin to count."""
        self.wake_at = now + self._max_call_s

    def tick(self, now: float) -> tuple[Step, ...]:
        """Return the goodbye when the time is over."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        return (Goodbye(reason="max_length", words=self._words),)
