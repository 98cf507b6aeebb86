"""One phone call of the drill: ask, listen, and record the times."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.callers import answers, caller_says, spoken_s
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.telephones import Telephone
from lab.process import RunningLab

Pcm: TypeAlias = NDArray[np.int16]
Hook: TypeAlias = Callable[[], Awaitable[None]]

GREETED_S: Final = 20.0  # the longest wait for a greeting
ANSWER_S: Final = 25.0  # the longest wait for the end of an answer
QUIET_S: Final = 0.9  # of silence after an answer that was long enough to be complete
LOST_S: Final = 5.0  # of silence after which the answer is over; stock Pipecat waits 3 s
HURRY_S: Final = 12.0  # a caller who hears nothing at all gives up
SHARE: Final = 0.85  # of an answer's sound: with this much, it may be complete
POLL_S: Final = 0.05
TICK_S: Final = 0.02  # a telephone sends this much at once


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTurn:
    """A question and the time spent listening for its answer; seconds of the call.

    Attributes:
        question: What the caller asked.
        answer: The expected answer.
        began_s: When the caller began to speak.
        stop_s: When the caller's last sound left.
        end_s: When listening ended.
    """

    question: str
    answer: str
    began_s: float
    stop_s: float
    end_s: float


class CallerEar:
    """The caller's hearing so far, and waiting for more."""

    def __init__(self, telephone: Telephone) -> None:
        self._telephone = telephone

    async def hear_answer(self, since_s: float, *, wanted_s: float, within_s: float) -> None:
        """Wait until about this much was heard, or nothing for too long."""
        telephone = self._telephone
        while not telephone.over and telephone.now_s - since_s < within_s:
            await asyncio.sleep(POLL_S)
            speech = self.speech(since_s)
            if not speech:
                if telephone.now_s - since_s > HURRY_S:
                    return
                continue
            enough = self._amount(since_s) >= SHARE * wanted_s
            quiet_s = telephone.now_s - speech[-1][1]
            if quiet_s >= (QUIET_S if enough else LOST_S):
                return

    async def hear_some(self, for_s: float, *, since_s: float, within_s: float) -> bool:
        """Return True once the agent was heard for this long since then; False after `within_s`."""
        until_s = self._telephone.now_s + within_s
        while self._amount(since_s) < for_s:
            if not await self._goes_on(until_s):
                return False
        return True

    async def wait(self, for_s: float) -> None:
        """Listen for this time, or until the call is over."""
        until_s = self._telephone.now_s + for_s
        while await self._goes_on(until_s):
            pass

    def speech(self, since_s: float) -> list[tuple[float, float]]:
        """Return when the agent was heard since then; short pauses count as speech."""
        now_s = self._telephone.now_s
        spans = self._telephone.bursts()
        return [(max(a, since_s), min(b, now_s)) for a, b in spans if b > since_s and a < now_s]

    def _amount(self, since_s: float) -> float:
        return sum(b - a for a, b in self.speech(since_s))

    async def _goes_on(self, until_s: float) -> bool:
        """Wait a moment; return whether the call goes on and it is not yet this late."""
        await asyncio.sleep(TICK_S)
        return self._telephone.now_s < until_s and not self._telephone.over


class Conversation:
    """A call in progress: `async with Conversation(telephone, lab, greeting=...) as call:`."""

    def __init__(
        self, telephone: Telephone, lab: RunningLab, *, greeting: str, path: EarPath = TELEPHONE
    ) -> None:
        self.greeting = greeting
        self.path = path  # the effect of the line on the voices' sound
        self.greeted_s: float | None = None  # the start of the greeting
        self._lab = lab
        self.ear = CallerEar(telephone)
        self._telephone = telephone
        self._asked: list[str] = []

    async def __aenter__(self) -> Self:
        """Ring and be connected."""
        await self._telephone.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        await self._telephone.__aexit__(kind, error, trace)

    @property
    def now_s(self) -> float:
        """Seconds of the call."""
        return self._telephone.now_s

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        return self._telephone.over

    def lab_s(self, call_s: float) -> float:
        """Return a moment of the call in seconds of the lab's record."""
        return self._telephone.started_at + call_s - self._lab.started_at_s

    def heard(self) -> Pcm:
        """Return everything the caller heard, from the start of the call."""
        return self._telephone.heard()

    async def wait_for_greeting(self) -> None:
        """Wait for the end of the greeting; it may never come."""
        await self.ear.hear_answer(0.0, wanted_s=spoken_s(self.greeting), within_s=GREETED_S)
        speech = self.ear.speech(0.0)
        self.greeted_s = speech[0][0] if speech else None

    async def ask(
        self,
        question: str,
        *,
        at: tuple[tuple[float | None, Hook], ...] = (),
        wanted_s: float | None = None,
        within_s: float = ANSWER_S,
    ) -> AskedTurn:
        """Ask, and listen until the answer is over or does not come.

        Args:
            question: What to ask.
            at: Further actions, with delays after the caller's start; `None`: at the caller's stop.
            wanted_s: How much to hear; `None` for the whole answer.
            within_s: The longest wait for the end of the answer.

        Raises:
            ConnectionError: The agent has hung up.
        """
        check_still_on(self._telephone)
        answer = self._expect_answer(question)
        began_s = self.now_s
        async with asyncio.TaskGroup() as tasks:
            for after_s, hook in at:
                if after_s is not None:
                    tasks.create_task(_later(after_s, hook))
            said_s = await self._telephone.say(caller_says(question))
            for after_s, hook in at:
                if after_s is None:
                    await hook()
        stop_s = said_s - TICK_S  # the caller's sound is known to be over one piece after its end
        wanted_s = spoken_s(answer) if wanted_s is None else wanted_s
        await self.ear.hear_answer(stop_s, wanted_s=wanted_s, within_s=within_s)
        return AskedTurn(
            question=question,
            answer=answer,
            began_s=began_s,
            stop_s=stop_s,
            end_s=self.now_s,
        )

    async def ask_only(self, question: str) -> float:
        """Ask without waiting for an answer; return when the caller's last sound left."""
        check_still_on(self._telephone)
        self._expect_answer(question)
        return await self._telephone.say(caller_says(question)) - TICK_S

    async def make_noise(self, sound: Pcm) -> None:
        """Send sound that is no speech."""
        check_still_on(self._telephone)
        await self._telephone.say(sound)

    def _expect_answer(self, question: str) -> str:
        self._asked.append(question)
        return answers(self._asked, greeting=self.greeting)[-1]


def check_still_on(telephone: Telephone) -> None:
    """Check that the agent is still on the line.

    Raises:
        ConnectionError: It is not.
    """
    if telephone.over:
        raise ConnectionError("the agent had hung up before the caller could ask")


async def _later(after_s: float, hook: Hook) -> None:
    await asyncio.sleep(after_s)
    await hook()
