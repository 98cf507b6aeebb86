"""Decides what to say to a silent caller, and when an overlong call ends.

The caller's time runs only while no one speaks and no work is in progress: not while the agent
speaks or the model thinks. Any sound of the caller restarts it, and resets the count of prompts.
Each time it runs out, the caller gets the next prompt; after the last one comes the goodbye, once.
Sound without words is no sign of the caller, because it may be a television. It only delays a
prompt: until `WORDS_S` after its end, and at most until it has lasted for `SOUND_S`. Work that
never ends stops counting after `work_limit_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from processors.turn.floor import Floor

SILENT: Final = "silence"  # the reason of an end of the call
WORK_LIMIT_S: Final = 15.0
"""The longest work that excuses silence: three times a tool's usual 5 s (chosen)."""
SOUND_S: Final = 3.0  # of sound in which a recogniser finds no word (chosen)
WORDS_S: Final = 1.0  # from a sound's end to its last word (chosen)


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
    final: bool = False  # the call ends even if the caller is heard


Step: TypeAlias = Prompt | Goodbye


class Silence:
    """Prompts a silent caller, prompts again, then says goodbye.

    silence = Silence(floor, prompt_after_s=8.0, prompts=["Hello?"], goodbye="Bye.")
    silence.start(100.0)
    silence.wake_at  # when to call `tick`, if nothing is heard until then
    """

    def __init__(
        self,
        floor: Floor,
        *,
        prompt_after_s: float,
        prompts: Sequence[str],
        goodbye: str,
        work_limit_s: float = WORK_LIMIT_S,
    ) -> None:
        self.prompts = 0
        self._floor = floor
        self._after_s = prompt_after_s
        self._prompts = tuple(prompts)
        self._goodbye = goodbye
        self._work_limit_s = work_limit_s
        self._over = False
        self._work = 0
        self._started_at: float | None = None
        self._since = -inf  # the caller's time runs from here, or from our later sound
        self._sound_since = -inf  # of the caller's latest sound, with short pauses
        self._goodbyes = 0  # since the caller's last words

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        floor = self._floor
        waits = floor.worded and (floor.caller_speaking or floor.turn_open)
        if self._started_at is None or self._over or waits:
            return None
        since = max(self._since, floor.agent_sounds_until, self._started_at)
        if max(since, floor.quiet_at) <= self._started_at:
            since += self._work_limit_s  # to connect the line and to begin the greeting
        at = since + self._after_s + (self._work_limit_s if self._work else 0.0)
        enough_at = self._sound_since + SOUND_S
        if floor.caller_speaking:
            return max(at, enough_at)
        return max(at, min(floor.quiet_at + WORDS_S, enough_at))

    def start(self, now: float) -> None:
        """Begin to count."""
        self._started_at = now

    def restart(self, now: float) -> None:
        """Count from now on."""
        self._since = now

    def sound_began(self, now: float) -> None:
        """Record sound of the caller, perhaps without words: after a goodbye it goes on."""
        if now - self._floor.quiet_at >= WORDS_S:
            self._sound_since = now
        self._since = now if self._over else self._since
        self._over = False

    def caller_spoke(self, now: float) -> None:
        """Record words of the caller, or a key: begin to count again, and with the first prompt."""
        self._since, self._over = now, False
        self.prompts = self._goodbyes = 0

    def work(self, now: float, *, more: int) -> None:
        """Record that a model or a tool was asked (1), or is done (-1)."""
        self._since = now
        self._work = max(0, self._work + more)

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
        self._goodbyes += 1
        return (Goodbye(reason=SILENT, words=self._goodbye, final=self._goodbyes > 1),)


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
        return (Goodbye(reason="max_length", words=self._words, final=True),)
