"""A ladder of language models with its own lab, to ask, break and observe without a call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar, cast

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.call.conversation import room_tokens
from bot.health.policies import build_policies
from bot.health.view import PHONE_RATE_HZ, watch_providers
from bot.workers.process import load_providers, share_providers
from calls.events import Event
from calls.turn import Turn
from configuration.rungs import rung_of
from configuration.settings import Settings
from fallbacks.attempts import Attempting
from fallbacks.availability import RungAvailability, RungState
from fallbacks.ladder import StagePolicy
from lab.control import LabControl
from lab.drill.rows import HOURS
from lab.process import LabOptions, RunningLab, lab_process, with_lab
from processors.answering.decision import Answering
from processors.answering.model_answer import ModelAnswer, NoModelLeftError
from processors.answering.model_stream import Model
from providers.catalog import provider
from runtime import clock

FIRST: Final = "openai"  # the rung that is broken
STANDBY: Final = "openai-b"
POLL_S: Final = 0.05

F = TypeVar("F")
Say: TypeAlias = Callable[[float, Event | str], None]
"""Takes each event, and the scenario's own steps, with the seconds since its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOutcome:
    """The result of one question; seconds from the question."""

    provider: str  # the last provider to answer; empty if none could
    first_word_s: float | None  # `None` if no word came
    took_s: float  # until the answer was complete, or no rung was left


class _Owner:
    """Owns the attempts' tasks, as a Pipecat processor does in a call."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(coroutine, name=name)

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})


class Bench:
    """One ladder, whose first rung can be broken; `told` holds its events in order."""

    def __init__(
        self,
        settings: Settings,
        control: LabControl,
        *,
        policy: StagePolicy,
        models: Mapping[str, Model],
        owner: _Owner,
        told: "ToldEvents",
    ) -> None:
        self.told = told
        self._settings = settings
        self._control = control
        self._policy = policy
        self._models = models
        self._owner = owner

    @property
    def availability(self) -> RungAvailability:
        """The availability of the first rung."""
        return self._policy.availability.of("llm", FIRST)

    def is_trusted(self) -> bool:
        """Return whether the first rung would be asked first now."""
        return self.availability.at(clock.monotonic()).state is RungState.READY

    async def ask(self) -> QuestionOutcome:
        """Ask a question in a call of its own; return when it is answered or no rung is left."""
        self.told.note("a caller asks")
        began_s = clock.monotonic()
        turn = Turn(budget_s=self._settings.latency.budget_s)
        turn.caller_stopped(began_s)
        first_s, speaker = None, ""

        async def note_speaker(provider: str, _taken_back: int) -> None:
            nonlocal speaker
            speaker = provider

        writing = self._begin_answer(turn, note_speaker)
        try:
            async with aclosing(writing.chunks()) as chunks:  # type: ignore[type-var]
                async for _ in chunks:
                    first_s = first_s or clock.monotonic() - began_s
        except NoModelLeftError:
            speaker = ""
        finally:
            await writing.close()
        answer = QuestionOutcome(
            provider=speaker, first_word_s=first_s, took_s=clock.monotonic() - began_s
        )
        self.told.note(_describe_outcome(answer))
        return answer

    async def fault(self, **window: Any) -> None:
        """Break the first rung from now on; earlier faults of it end."""
        self.told.note(f"{FIRST} breaks: {_describe_window(window)}")
        await self._control.set_faults(FIRST, [window])

    async def mend(self) -> None:
        """Lift all faults."""
        self.told.note(f"{FIRST} is mended")
        await self._control.mend_all()

    async def requests(self) -> int:
        """Return how many requests have reached the first rung so far, according to the lab."""
        return len(await self._control.requests(FIRST))

    async def wait_until(self, holds: Callable[[], bool], *, within_s: float) -> bool:
        """Wait for a condition, which is checked every `POLL_S`; return whether it held in time."""
        give_up_s = clock.monotonic() + within_s
        while not holds():
            if clock.monotonic() >= give_up_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _begin_answer(
        self, turn: Turn, note_speaker: Callable[[str, int], Coroutine[Any, Any, None]]
    ) -> ModelAnswer:
        """Return an answer to a question; `note_speaker` is told whenever a rung takes over."""
        question = [{"role": "user", "content": HOURS}]
        answering = Answering(
            lambda: Attempting(self._policy, numbers=turn.attempts, queues=True),
            until=turn.patient_until,
            recovers_s=0.0,
        )
        return ModelAnswer(
            models=self._models,
            answering=answering,
            context=LLMContext(messages=cast("Any", question)),
            owner=self._owner,
            clock=clock.monotonic,
            window_tokens=room_tokens(self._settings.agent),
            emit=self.told,
            change_writer=note_speaker,
        )


class ToldEvents:
    """Keeps the events, and reports each one at once; call it with an event."""

    def __init__(self, say: Say) -> None:
        self.events: list[Event] = []  # not bounded: a scenario takes half a minute
        self._say = say
        self._began_s = clock.monotonic()

    def __call__(self, event: Event) -> None:
        """Keep and report an event."""
        self.events.append(event)
        self._say(self.now_s, event)

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return clock.monotonic() - self._began_s

    def note(self, text: str) -> None:
        """Report a step of the scenario, between the events."""
        self._say(self.now_s, text)

    def of(self, kind: type[F]) -> list[F]:
        """Return the events of one kind about the first rung, or without a provider."""
        found = [event for event in self.events if isinstance(event, kind)]
        return [event for event in found if getattr(event, "provider", FIRST) == FIRST]


@asynccontextmanager
async def open_bench(
    *, rungs: Sequence[str], resilience: Mapping[str, Any], seed: int, say: Say
) -> AsyncIterator[Bench]:
    """Start a lab and a ladder against it, and stop both when the block ends.

    Args:
        rungs: The language models, by their names in the lab.
        resilience: Changes to that section of the configuration.
        seed: Seeds the lab's random numbers.
        say: Gets every report.
    """
    async with lab_process(options=LabOptions(seed=seed)) as lab, LabControl(lab) as control:
        settings = with_lab(_with_models(lab, rungs), {"resilience": resilience})
        await asyncio.to_thread(load_providers, settings)
        policy = build_policies(settings, clock.monotonic())["llm"]
        shared = await asyncio.to_thread(share_providers, settings)
        told = ToldEvents(say)
        try:
            async with (
                watch_providers(settings, policy.availability, shared=shared, emit=told),
                asyncio.TaskGroup() as group,
            ):
                yield Bench(
                    settings,
                    control,
                    policy=policy,
                    models=_models_by_name(settings, shared),
                    owner=_Owner(group),
                    told=told,
                )
        finally:
            for rung_spec in shared.values():
                await rung_spec.close()


def _with_models(lab: RunningLab, rungs: Sequence[str]) -> RunningLab:
    """Return the lab as if it had only these language models."""
    kept = [
        instance
        for instance in lab.instances
        if instance["kind"] != "openai" or instance["name"] in rungs
    ]
    return replace(lab, instances=kept)


def _models_by_name(settings: Settings, shared: Mapping[str, object]) -> dict[str, Model]:
    """Return the models of the ladder, built as a call builds them, by the rung's name."""
    rungs = [
        rung_of(
            item,
            "llm",
            agent=settings.agent,
            sample_rate_hz=PHONE_RATE_HZ,
            shared=shared.get(item.name),
        )
        for item in settings.stages.llm
    ]
    built = {rung.name: provider("llm", rung.kind).build(rung) for rung in rungs}
    return cast("dict[str, Model]", built)


def _describe_window(window: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in window.items())


def _describe_outcome(answer: QuestionOutcome) -> str:
    """Return how a question was answered, as a sentence."""
    if not answer.provider:
        return f"no provider can answer; known after {1000 * answer.took_s:.1f} ms"
    if answer.first_word_s is None:
        return f"the answer of {answer.provider} had no words"
    return f"{answer.provider} answered, its first word after {answer.first_word_s:.2f} s"
