"""Ladders with models of several vendors: each word of the answer once, whatever fails."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.health.policies import PACES, PRIORS_S
from calls.turn import Turn
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import AttemptFailed, RungChosen
from fallbacks.failure import Kind
from fallbacks.ladder import StagePolicy
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from processors.answering.model_stream import Model
from processors.answering.stage import LlmStage
from providers.catalog import provider
from providers.facts import RungFacts
from providers.provider import RungSpec
from tests.kit.bench import rung_spec
from tests.processors.answering import test_stage
from tests.processors.answering.test_stage import ANSWER
from tests.providers.adapter.own_models import HERE

pytestmark = pytest.mark.virtual_time

FAULTS: dict[str, Fault] = {
    "refused": faults.Refuse(),
    "401": faults.Http(status=401),
    "503": faults.Http(status=503),
    "silent": faults.Silent(),
    "garbage": faults.Garbage(),
    "an error in the stream": faults.ErrorEvent(),
    "reset at word 4": faults.Cut(),
    "closed cleanly at word 4": faults.Cut(how="close"),
    "cut inside word 5": faults.Cut(inside_word=True),
    "stalled at word 4": faults.Stall(),
    "closed cleanly at word 1": faults.Cut(after_words=1, how="close"),
}
QUICK = [("anthropic", "openai"), ("openai", "gemini")]
SLOW = [("gemini", "openai")]
CUT_SHORT = [("openai", "anthropic"), ("anthropic", "gemini"), ("gemini", "anthropic")]
PAIRS = [
    *((pair, fault) for pair in QUICK for fault in FAULTS),
    *(
        pytest.param(*row, marks=pytest.mark.slow)
        for row in (
            *((pair, fault) for pair in SLOW for fault in FAULTS),
            *((pair, "cut inside word 5") for pair in CUT_SHORT),
            *((pair, "closed cleanly at word 1") for pair in CUT_SHORT),
        )
    ),
]


@dataclass
class Ladder(test_stage.Bench):
    """A ladder of rungs of any kind."""

    def stage(self) -> LlmStage:
        models = {name: self.model(name) for name in self.rungs}
        return LlmStage(
            cast("dict[str, Model]", models),
            policy=self.policy,
            emit=self.told.append,
            clock=time.monotonic,
            turn=Turn(budget_s=self.budget_s),
            window_tokens=4000,
        )

    def model(self, name: str) -> Any:
        if name in self.shared:
            return provider("llm", "pipecat").build(self.shared[name])
        return provider("llm", self.lab.instance(name).kind).build(spec_of(self.lab.instance(name)))


def spec_of(peer: Instance) -> RungSpec:
    entry = provider("llm", peer.kind)
    return rung_spec(
        "llm",
        peer.kind,
        peer.url,
        name=peer.name,
        api_key=peer.api_key,
        instructions="Be brief.",
        service=entry.service,
        facts=entry.facts,
    )


@asynccontextmanager
async def ladder(
    *rungs: str, own: Sequence[RungSpec] = (), own_last: bool = False
) -> AsyncIterator[Ladder]:
    """Run the simulators of these kinds; `own` are further rungs, the first or the last ones."""
    owned = [spec.name for spec in own]
    names = [*rungs, *owned] if own_last else [*owned, *rungs]
    async with Lab([Spec(name=kind, kind=kind) for kind in rungs]) as lab:
        places = [Place(stage="llm", provider=name, credential=name) for name in names]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s=PRIORS_S)
        policy = StagePolicy(stage="llm", availability=availability, pace=PACES["llm"])
        yield Ladder(lab, names, policy, shared={spec.name: spec for spec in own})


@pytest.mark.parametrize(("pair", "fault"), PAIRS, ids=str)
async def test_each_word_comes_once_whichever_vendor_fails_first(
    pair: tuple[str, str], fault: str
) -> None:
    async with ladder(*pair) as it:
        it.lab.instance(pair[0]).set_faults([Window(fault=FAULTS[fault])])
        answer = await it.ask()

    assert answer.split() == ANSWER.split()
    assert [item.after for item in it.told_of(RungChosen)] == [pair[1]]
    assert len(it.told_of(AttemptFailed)) == 1


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
async def test_a_healthy_rung_of_any_vendor_answers_alone(kind: str) -> None:
    async with ladder(kind, "openai") as it:
        answer = await it.ask()

    assert answer == ANSWER
    assert it.told_of(AttemptFailed) == []


# -- a service with a protocol of its own

WORDS = ANSWER.split()


def lines(does: str, messages: Sequence[Any]) -> Iterator[bytes]:
    """Yield an answer of an owner's own server, from where the conversation stopped."""
    said = [item["content"] for item in messages if item["role"] == "assistant"]
    rest = WORDS[len(said[-1].split()) :] if said else WORDS
    for word in rest if does == "answers" else rest[:4]:
        yield json.dumps({"text": f" {word}"}).encode() + b"\n"
    if does == "answers":
        yield b'{"why": "stop"}\n'


@asynccontextmanager
async def own_server(does: str) -> AsyncIterator[RungSpec]:
    """Serve an owner's own protocol; yield the rung of its model."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if does.isdigit():
            return web.Response(status=int(does))
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines(does, asked["messages"]):
            await response.write(line)
        if does == "stalls":
            await asyncio.Event().wait()
        if does == "resets" and request.transport:
            request.transport.abort()
        return response

    app = web.Application()
    app.router.add_post("/ask", answer)
    async with TestServer(app) as server:
        yield rung_spec(
            "llm",
            "pipecat",
            str(server.make_url("/ask")),
            name="own",
            service=f"{HERE}:OwnModel",
            facts=RungFacts(shares=True),
        )


OWN = {
    "stalls": Kind.STALLED,
    "resets": Kind.CUT,
    "closes": Kind.CUT,
    "503": Kind.OVERLOADED,
    "401": Kind.AUTH,
}


@pytest.mark.parametrize(("does", "kind"), OWN.items(), ids=OWN.keys())
async def test_each_word_comes_once_if_an_owners_own_service_fails(does: str, kind: Kind) -> None:
    async with own_server("answers") as healthy, own_server(does) as failing:
        vendor = provider("llm", "pipecat", failing.service)
        shared = vendor.share(healthy)
        await vendor.probe_for_real(replace(healthy, shared=shared), timeout_s=3.0)
        async with ladder("openai", own=[replace(failing, shared=shared)]) as it:
            answer = await it.ask()

    assert answer.split() == ANSWER.split()
    assert [item.kind for item in it.told_of(AttemptFailed)] == [kind]


async def test_an_owners_own_service_answers_after_another_vendors_cut() -> None:
    async with (
        own_server("answers") as spec,
        ladder("openai", own=[spec], own_last=True) as it,
    ):
        it.fault("openai", fault="cut", after_words=4, how="reset")
        answer = await it.ask()

    assert answer.split() == ANSWER.split()
