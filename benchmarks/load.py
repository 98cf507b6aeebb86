"""Makes a number of simultaneous calls to one server, and judges the run.

Four kinds of processes take part: the server, the simulated providers, the callers, and this one,
which only waits. The CPU time of each is measured.
"""

import asyncio
import functools
import shutil
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.caller import HeldCall, Script
from benchmarks.callers import CallerPlan, Crowd, CrowdPlan, crowd
from benchmarks.figures import NEVER_S, HeardTurn, LoadRun, percentile, sum_up
from benchmarks.heard import JudgedCall, judge_all, sounds_of
from benchmarks.usage import HeldResources, Shares, add_up, held_resources
from lab.callers import answers, caller_says, encode, known
from lab.control import LabControl
from lab.drill.servers import AUTH_TOKEN, GREETING, RunningAgent, open_agent
from lab.drill.sound import Pcm
from lab.process import LabOptions, RunningLab, lab_process
from runtime import clock
from runtime.exits import CommandError

QUESTIONS: Final = ("How much is a haircut?", "What are your opening hours?")
SETTLED_S: Final = 2.0  # a server that has just started is still busy with its own start
SAMPLE_S: Final = 2.0  # between two samples of the memory
CALLERS_A_PROCESS: Final = 8  # together they take a tenth of a core
START_DELAY_S: Final = 2.0  # time for the callers' processes to start


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Settings of a run.

    Attributes:
        side: The server.
        workers: `1`, `auto`, or empty for a server that has no such option.
        calls: The number of simultaneous calls.
        turns: The number of turns in each call.
        apart_s: The time between two rings.
        delays: The simulators' delays, `usual` or `quick`.
    """

    side: str
    workers: str
    calls: int
    turns: int
    apart_s: float = 0.7
    delays: str = "quick"

    @property
    def options(self) -> tuple[str, ...]:
        """The server's command-line options."""
        return ("--workers", self.workers) if self.workers not in ("", "auto") else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running lab, and a server that uses it."""

    lab: RunningLab
    control: LabControl
    agent: RunningAgent


@functools.cache
def usual_phrases() -> Mapping[str, Pcm]:
    """Return the questions and their audio; rendered once, because a second rendering differs."""
    return {question: caller_says(question) for question in QUESTIONS}


@asynccontextmanager
async def open_site(
    side: str,
    *,
    folder: Path,
    delays: str,
    options: Sequence[str] = (),
    phrases: Mapping[str, Pcm] | None = None,
) -> AsyncIterator[Site]:
    """Start a lab and a server, and stop both when the block ends.

    Args:
        side: The server, `holdline` or `stock-pipecat`.
        folder: For the server's files; those of an earlier run are removed.
        delays: The lab's delays.
        options: The server's options.
        phrases: Possible questions and their audio; `None` for the usual ones.
    """
    await asyncio.to_thread(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    async with (
        lab_process(options=cheap_lab(delays, phrases)) as lab,
        LabControl(lab) as control,
        open_agent(lab, side, folder=folder, more=options) as agent,
    ):
        await asyncio.sleep(SETTLED_S)
        yield Site(lab=lab, control=control, agent=agent)


def cheap_lab(delays: str, phrases: Mapping[str, Pcm] | None = None) -> LabOptions:
    """Return the options of a lab that knows what callers will say; `None`: the usual phrases."""
    sounds = usual_phrases() if phrases is None else phrases
    utterances = tuple(known(text, sound) for text, sound in sounds.items())
    texts = (GREETING, *(answers([text], greeting=GREETING)[0] for text in sounds))
    return LabOptions(steady=True, delays=delays, known=utterances, ready=texts)


def script_for(url: str, phrases: Mapping[str, Pcm] | None = None) -> Script:
    """Return the data that callers of a server share."""
    sounds = usual_phrases() if phrases is None else phrases
    texts = [GREETING, *(answers([text], greeting=GREETING)[0] for text in sounds)]
    return Script(
        url=url,
        auth_token=AUTH_TOKEN,
        greeting=GREETING,
        phrases={text: encode(sound) for text, sound in sounds.items()},
        sounds=sounds_of(texts),
    )


def questions_of(number: int, turns: int) -> tuple[str, ...]:
    """Return a caller's questions; callers with adjacent numbers ask them in different order."""
    return tuple(QUESTIONS[(number + turn) % len(QUESTIONS)] for turn in range(turns))


@dataclass(slots=True)
class ResourceLog:
    """Resources of a server at each sample."""

    samples: list[tuple[float, HeldResources]] = field(default_factory=list)

    async def follow(self, pid: int, *, every_s: float = SAMPLE_S) -> None:
        """Sample until cancelled."""
        while True:
            self.samples.append((clock.monotonic(), await asyncio.to_thread(held_resources, pid)))
            await asyncio.sleep(every_s)


@asynccontextmanager
async def follow(
    resources: ResourceLog, pid: int, *, every_s: float = SAMPLE_S
) -> AsyncIterator[None]:
    """Sample the resources of a server during the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(resources.follow(pid, every_s=every_s))
        try:
            yield
        finally:
            task.cancel()


@asynccontextmanager
async def crowds(
    script: Script, callers: Sequence[CallerPlan], *, start_at: float, asks_on_signal: bool = False
) -> AsyncIterator[list[Crowd]]:
    """Run callers during the block, in as many processes as they need."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                crowd(
                    CrowdPlan(
                        script=script,
                        callers=tuple(callers[at : at + CALLERS_A_PROCESS]),
                        start_at=start_at,
                        asks_on_signal=asks_on_signal,
                    )
                )
            )
            for at in range(0, len(callers), CALLERS_A_PROCESS)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Raw results of a run, before they are judged."""

    started_at: float
    calls: list[HeldCall]
    server_s: float
    shares: Mapping[str, float]
    memory_mb: float
    requests: int
    voices_late_s: tuple[float, ...]


async def put_load(
    load: Load,
    *,
    folder: Path,
    callers: Sequence[CallerPlan] | None = None,
    meanwhile: Callable[[Site, Sequence[Crowd]], Awaitable[None]] | None = None,
) -> Evidence:
    """Run a server under load.

    Args:
        load: Settings of the run.
        folder: For the server's files.
        callers: The callers; `None` for callers with one call each, as `load` says.
        meanwhile: Runs during the calls. If given, callers wait for its signal before they ask.

    Raises:
        CommandError: The lab or the server did not start.
    """
    if callers is None:
        callers = [
            CallerPlan(
                number=number,
                rings_s=number * load.apart_s,
                questions=questions_of(number, load.turns),
            )
            for number in range(load.calls)
        ]
    async with open_site(
        load.side, folder=folder, delays=load.delays, options=load.options
    ) as site:
        script = script_for(site.agent.url)
        before = await count_model_requests(site.control)
        started_at = clock.monotonic() + START_DELAY_S
        resources = ResourceLog()
        pids = {"server": site.agent.pid, "simulators": site.lab.pid}
        async with (
            crowds(
                script, callers, start_at=started_at, asks_on_signal=meanwhile is not None
            ) as groups,
            follow(resources, site.agent.pid),
        ):
            await asyncio.sleep(max(0.0, started_at - clock.monotonic()))
            shares = Shares(pids | {f"callers-{at}": group.pid for at, group in enumerate(groups)})
            if meanwhile is not None:
                await meanwhile(site, groups)
            by_group = await asyncio.gather(*(group.calls() for group in groups))
            seconds, cores = await asyncio.to_thread(shares.until_now)
        return Evidence(
            started_at=started_at,
            calls=[call for group in by_group for call in group],
            server_s=seconds["server"],
            shares=add_up(cores.items()),
            memory_mb=max((sample.memory_mb for _, sample in resources.samples), default=0.0),
            requests=await count_model_requests(site.control) - before,
            voices_late_s=await lateness_of_voices(site.control),
        )


async def count_model_requests(control: LabControl) -> int:
    """Return how many requests for answers the models got, without probes."""
    found = 0
    for name in control.names:
        if name.startswith("openai"):
            found += sum(map(_is_answer, await control.requests(name)))
    return found


def _is_answer(request: Mapping[str, Any]) -> bool:
    details = request["details"]
    return bool(details.get("stream")) and bool(details.get("asked"))


async def lateness_of_voices(control: LabControl) -> tuple[float, ...]:
    """Return by how much the delay of each request to the first voice exceeds the median.

    The simulated delay is always the same, so a longer one means that its process had to wait.
    """
    took: list[float] = []
    for request in await control.requests("cartesia"):
        texts = [mark["at_s"] for mark in request["marks"] if mark["what"] == "text"]
        sounds = [mark["at_s"] for mark in request["marks"] if mark["what"] == "audio"]
        if texts and sounds:
            took.append(sounds[0] - texts[0])
    return tuple(number - statistics.median(took) for number in took)


def judge_run(load: Load, found: Evidence) -> tuple[LoadRun, list[JudgedCall]]:
    """Judge a run by its raw results; this takes a while, on all cores."""
    judged = judge_all(found.calls, started_at=found.started_at)
    answered = [call for call in found.calls if not call.refused]
    turns: list[HeardTurn] = [turn for judged_call in judged for turn in judged_call.turns]
    greetings = [
        verdict.greeting_s
        for verdict, held in zip(judged, found.calls, strict=True)
        if not held.refused
    ]
    late = [item for call in found.calls for item in call.late_s]
    seconds = sum(call.ended_s for call in answered)
    run = LoadRun(
        side=load.side,
        workers=load.workers,
        calls=load.calls,
        refused=len(found.calls) - len(answered),
        figures=sum_up(turns, expected=load.turns * len(answered)),
        greeting_s=max(greetings, default=NEVER_S),
        cores_a_call=found.server_s / seconds if seconds else 0.0,
        memory_mb=found.memory_mb,
        shares=found.shares,
        callers_late_s=percentile(late, 0.95) if late else 0.0,
        simulators_late_s=percentile(found.voices_late_s, 0.95) if found.voices_late_s else 0.0,
        requests_a_turn=found.requests / len(turns) if turns else 0.0,
        wrong=tuple(heard_turn.summary for heard_turn in turns if not heard_turn.whole),
        error="; ".join(dict.fromkeys(call.error for call in answered if call.error)),
    )
    return run, judged


async def measure(load: Load, *, folder: Path) -> tuple[LoadRun, list[JudgedCall]]:
    """Run and judge; if the server does not start, the result holds the error."""
    try:
        found = await put_load(load, folder=folder)
    except CommandError as broken:
        nothing = sum_up([], expected=load.turns * load.calls)
        run = LoadRun(
            side=load.side,
            workers=load.workers,
            calls=load.calls,
            figures=nothing,
            shares={},
            error=str(broken),
        )
        return run, []
    return await asyncio.to_thread(judge_run, load, found)
