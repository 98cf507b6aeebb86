"""A caller, the STT stage and two simulated Deepgrams, with a scripted VAD."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipecat.frames.frames import (
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from calls.turn import Turn
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings
from fallbacks.events import AttemptFailed, AttemptStarted
from fallbacks.ladder import Pace, StagePolicy
from lab.simulators.deepgram.socket import StreamLimits
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from processors.hearing.stage import SttStage
from providers.catalog import provider
from tests.kit.bench import Bench, rung_spec, running, text_of
from tests.kit.caller import FRAME_S, frames_of
from tests.kit.caller import words as caller_words
from tests.kit.waiting import until
from tests.lab.simulators import synthetic_caller as caller
from tests.lab.simulators.near_ears import bring_near

RATE_HZ = 16_000
FLOOR_RMS = 3.0  # the noise of a line; this recogniser loses words in exact silence
SURE_S = 0.2  # a VAD's delay, at the beginning of speech and at its end
TIMEOUT_S = 20.0  # a guard: far longer than anything takes, on a busy machine too
PACE = Pace(late_min_s=1.2, late_max_s=1.4, gap_s=1.2, silent_end_ok=True)

E = TypeVar("E")


# The synthesised speech differs a little each time, and the recogniser sometimes confuses these
# words. The test requires only that no word is lost and none comes twice.
ALIKE = {"where": "when"}


def words(text: str) -> list[str]:
    """Return the words in lower case, without punctuation; words that sound alike are unified."""
    return [ALIKE.get(word, word) for word in caller_words(text)]


@dataclass
class Call:
    stage: SttStage
    bench: Bench
    lab: Lab
    pace: float  # of the caller's sound against the clock
    told: list[Any]
    policy: StagePolicy
    seen: int = 0  # frames that a test has looked at
    _debt_s: float = field(default=0.0)

    async def silence(self, seconds: float) -> None:
        await self.sound(caller.noise(seconds, rms=FLOOR_RMS))

    async def sound(self, pcm: bytes) -> None:
        """Carry sound that the VAD ignores."""
        for frame in frames_of(pcm, RATE_HZ):
            await self.bench.put(frame)
            await self._wait(FRAME_S / self.pace)

    async def starts(self) -> None:
        """Let the VAD report that the caller speaks."""
        await self.bench.put(VADUserStartedSpeakingFrame(start_secs=SURE_S))

    async def stops(self) -> None:
        """Send silence until the VAD is sure that the caller has stopped."""
        await self.silence(SURE_S + 0.04)
        await self.bench.put(VADUserStoppedSpeakingFrame(stop_secs=SURE_S))

    async def begins(self, pcm: bytes) -> bytes:
        """Say as much as a VAD needs; return the rest."""
        sure = int(RATE_HZ * SURE_S) * 2
        await self.silence(0.5)
        await self.sound(pcm[:sure])
        await self.starts()
        return pcm[sure:]

    async def says(self, text: str) -> str:
        """Say something, and return the words that are passed on."""
        self.seen = len(self.bench.out)
        await self.sound(await self.begins(caller.say(text)))
        await self.stops()
        await self.written(text)
        return self.text

    async def written(self, text: str) -> None:
        """Wait for as many words as were spoken, and then a moment for extra ones."""
        number = len(words(text))
        await self.bench.until(lambda: len(words(self.text)) >= number, limit_s=TIMEOUT_S)
        await asyncio.sleep(0.15)

    @property
    def text(self) -> str:
        """Words passed on since `seen`."""
        return text_of(self.bench.all(TranscriptionFrame, since=self.seen))

    def facts(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def asked(self) -> list[str]:
        return [fact.provider for fact in self.facts(AttemptStarted)]

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(fact.provider, fact.kind.value) for fact in self.facts(AttemptFailed)]

    def breaks(self, name: str, fault: Fault | None) -> None:
        self.lab.instance(name).set_faults([Window(fault=fault)] if fault else [])

    async def until(self, met: Any, *, limit_s: float = TIMEOUT_S) -> None:
        await until(met, within_s=limit_s, every_s=0.02)

    async def _wait(self, seconds: float) -> None:
        self._debt_s += seconds
        if self._debt_s >= FRAME_S:  # shorter sleeps are inexact
            began = time.monotonic()
            await asyncio.sleep(self._debt_s)
            self._debt_s -= time.monotonic() - began


def rungs_of(instances: Sequence[Instance]) -> dict[str, FrameProcessor]:
    """Return services that are connected to these simulated providers."""
    return {
        instance.name: provider("stt", "deepgram").build(
            rung_spec(
                "stt",
                "deepgram",
                instance.url,
                name=instance.name,
                sample_rate_hz=RATE_HZ,
                api_key=instance.api_key,
            )
        )
        for instance in instances
    }


@asynccontextmanager
async def calling(
    *names: str,
    faults: Mapping[str, Fault] | None = None,
    pace: float = 5.0,
    limits: StreamLimits | None = None,
    more: Mapping[str, FrameProcessor] | None = None,
    availability: AvailabilityTable | None = None,
    failures: int = 3,
    limit_s: float = 60.0,
) -> AsyncIterator[Call]:
    """Run a call on a ladder of simulated recognisers.

    Args:
        names: The recognisers' names; without any, `a` and `b`.
        faults: What is wrong with them from the start.
        pace: How much faster than the clock the caller speaks.
        limits: Of the recognisers.
        more: Further rungs.
        availability: The state of the recognisers; `None` for a fresh one.
        failures: In a row, which open a breaker.
        limit_s: The longest that it takes.
    """
    options = {"limits": limits or StreamLimits(intake_cap=None)}
    specs = [Spec(name=item, kind="deepgram", options=options) for item in names or ("a", "b")]
    async with bring_near(Lab(specs)) as lab:
        for name, fault in (faults or {}).items():
            lab.instance(name).set_faults([Window(fault=fault)])
        rungs = {**rungs_of(tuple(lab.instances.values())), **(more or {})}
        policy = policy_of(rungs, availability=availability, failures=failures)
        async with on_stage(rungs, lab=lab, pace=pace, policy=policy, limit_s=limit_s) as call:
            yield call


@asynccontextmanager
async def on_stage(
    rungs: Mapping[str, FrameProcessor],
    *,
    lab: Lab,
    pace: float,
    policy: StagePolicy | None = None,
    limit_s: float = 60.0,
) -> AsyncIterator[Call]:
    """Run a call on these services, whose far ends are in `lab`."""
    told: list[Any] = []
    policy = policy or policy_of(rungs)
    stage = SttStage(
        rungs, policy=policy, emit=told.append, clock=time.monotonic, turn=Turn(budget_s=1.5)
    )
    async with running(stage, rate_hz=RATE_HZ, limit_s=limit_s) as bench:
        yield Call(stage=stage, bench=bench, lab=lab, pace=pace, told=told, policy=policy)


def policy_of(
    rungs: Mapping[str, object], *, availability: AvailabilityTable | None = None, failures: int = 3
) -> StagePolicy:
    """Return a policy, by default on a fresh availability, each rung with a key of its own."""
    places = [Place(stage="stt", provider=rung, credential=rung) for rung in rungs]
    availability = availability or AvailabilityTable(
        places,
        now=time.monotonic(),
        settings=BreakerSettings(failures=failures),
        priors_s={"stt": 0.4},
    )
    return StagePolicy(stage="stt", availability=availability, pace=PACE)
