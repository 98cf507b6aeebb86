"""Pipecat's services for servers with OpenAI's protocol, against those servers' oddities."""

import time
from typing import Any

import pytest
import yaml

from bot.health.policies import PACES, PRIORS_S
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import AttemptFailed
from fallbacks.failure import Kind
from fallbacks.ladder import StagePolicy
from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.openai.like import oddities
from lab.simulators.schedule import Window
from processors.answering.stage import LlmStage
from providers.catalog import ADAPTED, DATA, known_services, provider
from providers.provider import RungSpec
from tests.kit.bench import rung_spec
from tests.processors.answering.test_stage import ANSWER, Bench, question

pytestmark = pytest.mark.virtual_time

TABLE = yaml.safe_load((DATA / "services.yaml").read_text("utf-8"))
SERVICES = [
    service
    for service in known_services("llm")
    if TABLE[service.removeprefix("pipecat.services.")].get("tried")
    and service.split(".")[2] in oddities()
]


def rung(peer: Instance, service: str) -> RungSpec:
    like = peer.name
    url = peer.url if like != "azure" else peer.url.partition("/openai")[0]
    facts = provider("llm", ADAPTED, service).facts
    return rung_spec(
        "llm", ADAPTED, url, name=like, service=service, facts=facts, api_key=peer.api_key,
        model=oddities()[like].models[0],
    )  # fmt: skip


class AdaptedBench(Bench):
    def stage(self) -> LlmStage:
        stage = super().stage()
        for name, spec in self.shared.items():
            if spec.kind == ADAPTED:
                stage._models[name] = provider("llm", ADAPTED, spec.service).build(spec)  # type: ignore[index, assignment]
        return stage


async def asked(service: str, fault: faults.Fault | None) -> tuple[str, list[AttemptFailed]]:
    """Return the answer of a ladder, in a conversation with a tool call of another vendor."""
    like = service.split(".")[2]
    call = {"id": "call_" + "a" * 24, "type": "function",
            "function": {"name": "x", "arguments": "{}"}}  # fmt: skip
    context = question()
    messages: list[Any] = [
        {"role": "user", "content": "Please call me back."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "{}"},
        *context.messages,
    ]
    context.set_messages(messages)
    specs = [
        Spec(name=like, kind="openai", options={"like": like}),
        Spec(name="openai", kind="openai"),
    ]
    async with Lab(specs, core=Core(steady=True)) as lab:
        peer, other = lab.instance(like), lab.instance("openai")
        peer.set_faults([Window(fault=fault)] if fault else [])
        shared = {
            like: rung(peer, service),
            "openai": rung_spec("llm", "openai", other.url, name="openai", api_key=other.api_key),
        }
        places = [Place(stage="llm", provider=name, credential=name) for name in shared]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s=PRIORS_S)
        policy = StagePolicy(stage="llm", availability=availability, pace=PACES["llm"])
        it = AdaptedBench(lab, list(shared), policy, shared=shared)
        return await it.ask(context), it.told_of(AttemptFailed)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_healthy_answer_is_whole(service: str) -> None:
    assert await asked(service, None) == (ANSWER, [])


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [(faults.Cut(after_words=4, how="close"), Kind.CUT), (faults.Http(status=401), Kind.AUTH)],
    ids=["cut", "key"],
)
async def test_each_word_comes_once_when_it_is_cut_or_refuses_the_key(
    service: str, fault: faults.Fault, kind: Kind
) -> None:
    answer, failures = await asked(service, fault)

    assert answer.split() == ANSWER.split()
    assert [failure.kind for failure in failures] == [kind]


async def test_an_answer_that_ends_for_lack_of_resources_is_taken_over() -> None:
    answer, (failure,) = await asked(
        "pipecat.services.deepseek.llm:DeepSeekLLMService", faults.ErrorEvent()
    )

    assert answer == ANSWER
    assert failure.kind is Kind.OVERLOADED
