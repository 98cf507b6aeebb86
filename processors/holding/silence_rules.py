"""Decides what to say to a silent caller, and when a call that is too long ends.

The caller has `prompt_after_s` to say something after the agent has spoken. Each time this time
runs out, the caller gets the next prompt, and after the last prompt the goodbye. Words of the
caller, or a keypad digit, restart the time and the series of prompts. The time also restarts when a
model or a tool begins or ends its work, and is longer by `work_limit_s` while one works. Work
delays only one prompt, so work that never ends cannot keep a call open.

Sound without words restarts nothing, because it may be a television. It only delays the next
prompt: until `WORDS_S` after the sound ends, when its transcript would have arrived, but never
beyond `SOUND_S` of sound. A goodbye is different: any sound interrupts the first one, the call goes
on, and the time runs again. If it then runs out without a word of the caller, a second goodbye
follows, which cannot be interrupted. Otherwise a television could keep the call open forever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from processors.turn.floor import Floor, ReplyState

SILENT: Final = "silence"  # the reason for ending the call, in `CallEnded`
WORK_LIMIT_S: Final = 15.0
"""The longest work that delays a prompt: three times a tool's usual 5 s (chosen)."""
SOUND_S: Final = 3.0  # the longest sound without words that delays a prompt (chosen)
WORDS_S: Final = 1.0  # the longest time from a sound's end to its transcript (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Ask whether the caller is still there."""

    words: str
    prompts: int  # since the caller's last words, including this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """Say the last words and hang up."""

    reason: str  # silence, max_length
    words: str
    final: bool = False  # the call ends even if the caller is heard


Step: TypeAlias = Prompt | Goodbye


class Silence:
    """Prompts a silent caller, then says goodbye.

    silence = Silence(floor, prompt_after_s=8.0, prompts=["Hello?"], goodbye="Bye.")
    silence.start(100.0)
    silence.wake_at  # when to call `tick`, unless something happens before that
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
        """Begin with the time stopped, until `start`; the durations are in seconds."""
        self._prompted = 0  # prompts since the caller's last words
        self._floor = floor
        self._after_s = prompt_after_s
        self._prompt_texts = tuple(prompts)
        self._goodbye_text = goodbye
        self._work_limit_s = work_limit_s
        self._parting = False  # the goodbye was the last step, and no sound has followed
        self._started_at: float | None = None
        # The caller's silence counts from this moment, or from the end of our later speech.
        self._count_from = -inf
        # When the caller's latest sound began; short pauses are part of it.
        self._sound_since = -inf
        self._stepped_at = -inf  # when the last prompt or goodbye was due
        self._goodbyes = 0  # since the caller's last words

    @property
    def wake_at(self) -> float | None:
        """When the next prompt or goodbye is due, or `None` while the time does not run.

        It does not run before the call begins, after the goodbye, or in a turn with words.
        """
        floor = self._floor
        waits = floor.worded and (floor.caller_speaking or floor.turn_open)
        if self._started_at is None or self._parting or waits:
            return None
        counted_from = max(self._count_from, floor.worked_at)
        since = max(counted_from, floor.agent_sounds_until, self._started_at)
        if max(since, floor.quiet_at) <= self._started_at:
            since += self._work_limit_s  # to connect the line and to begin the greeting
        is_working = ReplyState.WRITING in floor.reply or bool(floor.tools)
        # Work delays one step only: after that step, it must have begun or ended to count again.
        delays = is_working and floor.worked_at >= self._stepped_at
        due_at = since + self._after_s + (self._work_limit_s if delays else 0.0)
        longest_sound_at = self._sound_since + SOUND_S
        if floor.caller_speaking:
            return max(due_at, longest_sound_at)
        transcript_at = floor.quiet_at + WORDS_S  # the words of the latest sound arrive by then
        return max(due_at, min(transcript_at, longest_sound_at))

    def start(self, now: float) -> None:
        """Start the caller's time: the call was answered."""
        self._started_at = now

    def restart(self, now: float) -> None:
        """Restart the caller's time, such as after a transfer, but not the series of prompts."""
        self._count_from = now

    def sound_began(self, now: float) -> None:
        """Record that the caller's sound began; after a goodbye, the time runs again."""
        if now - self._floor.quiet_at >= WORDS_S:
            self._sound_since = now
        if self._parting:
            self._count_from, self._parting = now, False

    def caller_spoke(self, now: float) -> None:
        """Record words of the caller, or a digit: restart the time and the series of prompts."""
        self._count_from, self._parting = now, False
        self._prompted = self._goodbyes = 0

    def tick(self, now: float) -> tuple[Step, ...]:
        """Return the prompt or goodbye that is due, if any, and restart the caller's time.

        Empty before `wake_at`. A step that is returned counts as said.
        """
        if self.wake_at is None or now < self.wake_at:
            return ()
        self._count_from = self._stepped_at = now
        if self._prompted < len(self._prompt_texts):
            self._prompted += 1
            return (Prompt(words=self._prompt_texts[self._prompted - 1], prompts=self._prompted),)
        self._parting = True
        self._goodbyes += 1
        return (Goodbye(reason=SILENT, words=self._goodbye_text, final=self._goodbyes > 1),)


class CallLength:
    """Ends a call that has reached its maximum length with a goodbye."""

    def __init__(self, *, max_call_s: float, words: str) -> None:
        self.wake_at: float | None = None
        self._max_call_s = max_call_s
        self._words = words

    def start(self, now: float) -> None:
        """Record that the call was answered."""
        self.wake_at = now + self._max_call_s

    def tick(self, now: float) -> tuple[Step, ...]:
        """Return the goodbye, once, when the call has reached its maximum length."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        return (Goodbye(reason="max_length", words=self._words, final=True),)
