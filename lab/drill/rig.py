"""A fresh lab and a fresh server for each run, so that runs do not affect each other."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fallbacks.breaker import State
from lab.callers import (
    Carrier,
    LineEcho,
    answers,
    caller_says,
    known,
    says_again,
    spoken_s,
)
from lab.control import LabControl
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.rows import WORKER, Break, Row, When
from lab.drill.servers import (
    AUTH_TOKEN,
    GREETING,
    RunningAgent,
    break_worker,
    loopback_settings,
    open_agent,
)
from lab.drill.telephones import Telephone
from lab.process import LabOptions, RunningLab, lab_process

Pcm: TypeAlias = NDArray[np.int16]
Hook: TypeAlias = Callable[[], Awaitable[None]]

GREETED_S: Final = 20.0  # the longest wait for a greeting
ANSWER_END_S: Final = 25.0  # the longest wait for the end of an answer
QUIET_S: Final = 0.9  # silence that ends an answer which was long enough to be complete
LOST_S: Final = 5.0  # silence that ends any answer; stock Pipecat waits 3 s
GIVE_UP_S: Final = 12.0  # a caller who has heard nothing at all waits no longer
COMPLETE_SHARE: Final = 0.85  # of the expected length: with this much, an answer may be complete
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
    """Measures what the caller has heard so far, and waits for more."""

    def __init__(self, telephone: Telephone) -> None:
        self._telephone = telephone

    async def hear_answer(self, since_s: float, *, wanted_s: float, within_s: float) -> None:
        """Wait until the answer is over, at most for `within_s`.

        It is over after `QUIET_S` of silence if about `wanted_s` were heard, else after `LOST_S`.
        If nothing is heard for `GIVE_UP_S`, no answer is expected any more.
        """
        telephone = self._telephone
        while not telephone.over and telephone.now_s - since_s < within_s:
            await asyncio.sleep(POLL_S)
            speech = self.speech(since_s)
            if not speech:
                if telephone.now_s - since_s > GIVE_UP_S:
                    return
                continue
            may_be_complete = self._heard_s(since_s) >= COMPLETE_SHARE * wanted_s
            quiet_s = telephone.now_s - speech[-1][1]
            if quiet_s >= (QUIET_S if may_be_complete else LOST_S):
                return

    async def hear_some(self, for_s: float, *, since_s: float, within_s: float) -> bool:
        """Wait until the agent was heard for `for_s` since `since_s`.

        Returns:
            False if that did not happen within `within_s`, or before the end of the call.
        """
        until_s = self._telephone.now_s + within_s
        while self._heard_s(since_s) < for_s:
            if not await self._goes_on(until_s):
                return False
        return True

    async def wait(self, for_s: float) -> None:
        """Listen for this time, or until the call is over."""
        until_s = self._telephone.now_s + for_s
        while await self._goes_on(until_s):
            pass

    def speech(self, since_s: float) -> list[tuple[float, float]]:
        """Return the spans since then in which the agent was heard, short pauses included."""
        now_s = self._telephone.now_s
        spans = self._telephone.bursts()
        return [(max(a, since_s), min(b, now_s)) for a, b in spans if b > since_s and a < now_s]

    def _heard_s(self, since_s: float) -> float:
        return sum(b - a for a, b in self.speech(since_s))

    async def _goes_on(self, until_s: float) -> bool:
        """Wait a moment; return whether the call is still on and `until_s` is not over."""
        await asyncio.sleep(TICK_S)
        return self._telephone.now_s < until_s and not self._telephone.over


class Conversation:
    """A call in progress: `async with Conversation(telephone, lab, greeting=...) as call:`."""

    def __init__(
        self, telephone: Telephone, lab: RunningLab, *, greeting: str, path: EarPath = TELEPHONE
    ) -> None:
        self.greeting = greeting
        self.path = path  # the effect of the line on the voices' sound
        self.greeted_s: float | None = None  # the start of the greeting; `None` without one
        self._lab = lab
        self.ear = CallerEar(telephone)
        self._telephone = telephone
        self.expected = ""  # the answer to the latest question
        self._asked: list[str] = []

    async def __aenter__(self) -> Self:
        """Call, and wait until the call is connected."""
        await self._telephone.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Hang up."""
        await self._telephone.__aexit__(*raised)

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
        """Wait for the end of the greeting, and set `greeted_s`; the greeting may never come."""
        await self.ear.hear_answer(0.0, wanted_s=spoken_s(self.greeting), within_s=GREETED_S)
        speech = self.ear.speech(0.0)
        self.greeted_s = speech[0][0] if speech else None

    async def ask(
        self,
        question: str,
        *,
        at: tuple[tuple[float | None, Hook], ...] = (),
        wanted_s: float | None = None,
        within_s: float = ANSWER_END_S,
    ) -> AskedTurn:
        """Ask, and listen until the answer is over or does not come.

        Args:
            question: What to ask.
            at: Further actions, with delays after the caller's start; `None`: at the caller's stop.
            wanted_s: How much to hear; `None` for the whole answer.
            within_s: The longest wait for the end of the answer.

        Raises:
            ConnectionError: The agent has hung up.
            ExceptionGroup: An action failed, or speaking did.
        """
        check_still_on(self._telephone)
        answer = self._expect_answer(question)
        began_s = self.now_s
        async with asyncio.TaskGroup() as tasks:
            for after_s, hook in at:
                if after_s is not None:
                    tasks.create_task(_run_after(after_s, hook))
            said_s = await self._telephone.say(caller_says(question))
            for after_s, hook in at:
                if after_s is None:
                    await hook()
        stop_s = said_s - TICK_S  # `say` returns one piece after the end of the sound
        wanted_s = spoken_s(answer) if wanted_s is None else wanted_s
        await self.ear.hear_answer(stop_s, wanted_s=wanted_s, within_s=within_s)
        return AskedTurn(
            question=question, answer=answer, began_s=began_s, stop_s=stop_s, end_s=self.now_s
        )

    async def ask_only(self, question: str) -> float:
        """Ask without waiting for an answer; return when the caller's last sound left.

        Raises:
            ConnectionError: The agent has hung up.
        """
        check_still_on(self._telephone)
        self._expect_answer(question)
        return await self._telephone.say(caller_says(question)) - TICK_S

    async def make_noise(self, sound: Pcm) -> None:
        """Send sound without expecting an answer to it.

        Raises:
            ConnectionError: The agent has hung up.
        """
        check_still_on(self._telephone)
        await self._telephone.say(sound)

    def _expect_answer(self, question: str) -> str:
        """Add a question; return its answer after all earlier ones, and keep it as `expected`."""
        self._asked.append(question)
        self.expected = answers(self._asked, greeting=self.greeting)[-1]
        return self.expected


def check_still_on(telephone: Telephone) -> None:
    """Check that the agent is still on the line.

    Raises:
        ConnectionError: It is not.
    """
    if telephone.over:
        raise ConnectionError("the agent had hung up before the caller could ask")


async def _run_after(after_s: float, hook: Hook) -> None:
    await asyncio.sleep(after_s)
    await hook()


FAILURES: Final = ("ProviderFailed", "AttemptFailed")  # events that count against a provider
CALLER_BEGAN: Final = "CallerStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A running lab and a server against it.

    Attributes:
        row: The row to play here.
        lab: The lab with the providers.
        control: For breaking and mending the providers.
        ring: Creates a telephone that has not called yet.
        calls: The folder of the server's call records, if any.
        agent: The server; `None` if it runs in this process.
        path: The line's effect on the voices' sound.
    """

    row: Row
    lab: RunningLab
    control: LabControl
    ring: Callable[[], Telephone]
    calls: Path
    agent: RunningAgent | None = None
    path: EarPath = TELEPHONE

    def call(self) -> Conversation:
        """Return a call that has not begun."""
        return Conversation(self.ring(), self.lab, greeting=GREETING, path=self.path)

    @asynccontextmanager
    async def greeted_call(self) -> AsyncIterator[Conversation]:
        """Call, and wait for the end of the greeting."""
        async with self.call() as call:
            await call.wait_for_greeting()
            yield call

    async def break_now(self, when: When) -> None:
        """Start the row's faults of this moment; each replaces earlier ones of its provider."""
        await self._start_faults(fault for fault in self.row.breaks if fault.when is when)

    def timed(self) -> tuple[tuple[float | None, Hook], ...]:
        """Return the faults that start within a turn, as `Conversation.ask` takes them."""
        return tuple(
            (
                fault.after_s if fault.when is When.SPOKEN else None,
                partial(self._start_faults, [fault]),
            )
            for fault in self.row.breaks
            if fault.when in (When.SPOKEN, When.AT_STOP)
        )

    def failures(self) -> list[dict[str, Any]]:
        """Return the providers' failures in the server's call records; blocks."""
        return [entry for entry in self._read_records() if entry.get("event") in FAILURES]

    def failures_since_spoken_to(self) -> list[dict[str, Any]]:
        """Return the failures since a caller last began to speak; all of them if none did."""
        entries = self._read_records()
        began = [at for at, entry in enumerate(entries) if entry.get("event") == CALLER_BEGAN]
        later = entries[began[-1] :] if began else entries
        return [entry for entry in later if entry.get("event") in FAILURES]

    def barge_ins(self) -> int:
        """Return how often the agent was interrupted."""
        return sum(entry.get("event") == "BargedIn" for entry in self._read_records())

    def closed_breakers(self) -> int:
        """Return how often a breaker closed in a call, so through a caller's success."""
        moved = [entry for entry in self._read_records() if entry.get("event") == "BreakerMoved"]
        return sum(entry["after"] == State.CLOSED for entry in moved)

    def is_continued(self) -> bool:
        """Return whether a worker has continued another worker's call."""
        begun = [entry for entry in self._read_records() if entry.get("event") == "CallStarted"]
        return any(entry["gap_s"] for entry in begun)

    def calls_begun(self) -> int:
        """Return the number of calls in the server's record."""
        return len(list(self.calls.glob("*.jsonl")))

    def _read_records(self) -> list[dict[str, Any]]:
        """Return all entries of the server's call records, call by call; reads the files."""
        return [
            json.loads(line)
            for path in sorted(self.calls.glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]

    async def _start_faults(self, breaks: Iterable[Break]) -> None:
        """Start faults: a provider's replace its earlier ones, a worker's send it a signal."""
        for fault in breaks:
            if fault.provider == WORKER and self.agent is not None:
                break_worker(self.agent, fault.window["fault"])
            else:
                await self.control.set_faults(fault.provider, [fault.window])


@asynccontextmanager
async def open_rig(
    row: Row, side: str, *, run: int, folder: Path, lab_options: LabOptions | None = None
) -> AsyncIterator[Rig]:
    """Start a lab and a server, and stop both when the block ends.

    Args:
        row: The row to play.
        side: The server's side.
        run: The number of the run, which seeds the lab's random numbers.
        folder: For the server's files.
        lab_options: Of the lab, besides those of the row and the run.
    """
    options = replace(
        lab_options or LabOptions(),
        seed=run,
        steady=row.steady,
        keep_audio=True,
        uncapped=row.uncapped,
        known=tuple(known(text, says_again(text)) for text in row.known),
    )
    async with (
        lab_process(options=options) as lab,
        LabControl(lab) as control,
        _running_agent(row, side, lab, folder=folder) as (ring, agent),
    ):
        calls = folder / "logs" / "calls"
        yield Rig(row=row, lab=lab, control=control, ring=ring, calls=calls, agent=agent)


@asynccontextmanager
async def _running_agent(
    row: Row, side: str, lab: RunningLab, *, folder: Path
) -> AsyncIterator[tuple[Callable[[], Telephone], RunningAgent | None]]:
    """Run the agent during the block; yield a function that rings it, and the server."""
    if row.leg == "loopback":
        # Both load Pipecat, which no other row needs in this process.
        from bot.workers.process import open_process  # noqa: PLC0415
        from lab.drill.telephones import LoopbackTelephone  # noqa: PLC0415

        settings = loopback_settings(lab, folder / "logs")
        async with open_process(settings, words=False) as process:
            yield lambda: LoopbackTelephone(process), None
        return
    async with open_agent(lab, side, folder=folder, clips=row.clips) as agent:

        def ring() -> Carrier:
            carrier = Carrier(agent.url, AUTH_TOKEN)
            if row.echo_db is not None:
                carrier.echo = LineEcho(level_db=row.echo_db)
            return carrier

        yield ring, agent
