"""Each real probe against the lab: it passes for a healthy provider only."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema

from fallbacks.failure import Kind
from lab.process import STAGE_OF
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import KINDS, Lab, Spec
from lab.simulators.schedule import Window
from providers.catalog import provider
from providers.provider import ProbeFailedError, Stage
from tests.kit.bench import rung_spec
from tests.lab.simulators.near_ears import bring_near
from tests.providers.scripted_model import choosing, chunk, moderating, writing

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=KINDS)
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Instance]:
    async with bring_near(Lab([Spec(name="it", kind=request.param)], speed=20.0)) as lab:
        yield lab.instance("it")


async def probe(
    peer: Instance, *, timeout_s: float = 5.0, api_key: str | None = None, **more: Any
) -> None:
    stage = STAGE_OF[peer.kind]
    rung = rung_spec(
        stage, peer.kind, peer.url, sample_rate_hz=16_000, api_key=api_key or peer.api_key, **more
    )
    try:
        await provider(stage, peer.kind).probe_for_real(rung, timeout_s=timeout_s)
    except ProbeFailedError as failed:
        failed.add_note(failed.failure(rung).kind)
        raise


async def test_a_healthy_provider_passes_a_well_formed_probe_that_leaves_no_connection(
    peer: Instance,
) -> None:
    await probe(peer)

    requests = peer.record.requests("it")
    assert requests
    assert all(request.ok_auth and request.well_formed for request in requests)
    async with asyncio.timeout(3.0):
        while any(request.outcome == "open" for request in peer.record.requests("it")):  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Refuse(), Kind.NETWORK),
        (faults.Http(status=429), Kind.RATE_LIMITED),
        (faults.Quota(), Kind.QUOTA),
        (faults.Silent(where="handshake"), Kind.TIMEOUT),
        (faults.Silent(where="stream"), Kind.SILENT),
        (faults.Alive(), Kind.SILENT),
    ],
    ids=["refused", "429", "quota", "no answer", "silent", "alive without content"],
)
async def test_a_broken_provider_fails_the_probe_with_the_kind_of_its_fault(
    peer: Instance, fault: Fault, kind: Kind
) -> None:
    peer.set_faults([Window(fault=fault)])
    if STAGE_OF[peer.kind] == "stt" and isinstance(fault, faults.Alive):
        await probe(peer, timeout_s=0.7)  # a recogniser that answers is healthy, even without words
        return

    if peer.kind == "gemini" and fault == faults.Silent(where="stream"):
        kind = Kind.TIMEOUT  # its SDK does not show that the response has begun

    with pytest.raises(ProbeFailedError) as failed:
        async with asyncio.timeout(3.0):
            await probe(peer, timeout_s=0.7)

    assert failed.value.__notes__ == [kind]


async def test_garbage_is_not_an_answer(peer: Instance) -> None:
    peer.set_faults([Window(fault=faults.Garbage())])

    with pytest.raises(ProbeFailedError):
        await probe(peer, timeout_s=0.7)


async def test_a_model_that_writes_only_blanks_fails_its_probe() -> None:
    async with writing("\n\n", " ", finish="stop") as url:
        rung = rung_spec("llm", "openai", url)
        with pytest.raises(ProbeFailedError) as failed:
            await provider("llm", "openai").probe_for_real(rung, timeout_s=5.0)

    assert failed.value.failure(rung).kind is Kind.SILENT


async def test_a_model_is_asked_with_the_options_of_its_rung() -> None:
    asked = list[dict[str, Any]]()

    def write(body: dict[str, Any]) -> list[Any]:
        asked.append(body)
        return [chunk({"content": "yes"}, "stop")]

    async with choosing(write) as url:
        rung = rung_spec(
            "llm",
            "openai",
            url,
            instructions="You are Mary.",
            options={"temperature": 0.2, "extra": {"reasoning_effort": "low"}},
        )
        await provider("llm", "openai").probe_for_real(rung, timeout_s=5.0)

    (body,) = asked
    assert (body["temperature"], body["reasoning_effort"]) == (0.2, "low")
    assert [said["role"] for said in body["messages"]] == ["user"]


async def test_options_that_a_recogniser_refuses_fail_its_probe() -> None:
    async with bring_near(Lab([Spec(name="it", kind="deepgram")], speed=20.0)) as lab:
        peer = lab.instance("it")
        with pytest.raises(ProbeFailedError, match="Keywords are not supported for Nova-3"):
            await probe(peer, options={"keywords": ["Holdline:2"], "punctuate": True})


async def test_a_wrong_key_is_reported_without_the_key(peer: Instance) -> None:
    with pytest.raises(ProbeFailedError) as failed:
        await probe(peer, api_key="not-the-key-at-all")

    assert failed.value.__notes__ == [Kind.AUTH]
    assert "not-the-key" not in str(failed.value)
    assert "\n" not in str(failed.value)


LOCAL = rung_spec("tts", "local")


@pytest.mark.real_time  # the recogniser is a process of its own
@pytest.mark.parametrize("stage", ["stt", "tts"])
async def test_the_local_recogniser_and_voice_pass_their_probes(stage: Stage) -> None:
    await provider(stage, "local").probe_for_real(replace(LOCAL, stage=stage), timeout_s=10.0)


async def test_a_missing_local_voice_fails_its_probe() -> None:
    rung = replace(LOCAL, voice="xx-nobody")

    with pytest.raises(ProbeFailedError, match="xx-nobody"):
        await provider("tts", "local").probe_for_real(rung, timeout_s=5.0)


@pytest.mark.real_time  # it is a process of its own
async def test_a_local_recogniser_without_its_model_fails_its_probe(tmp_path: Path) -> None:
    rung = replace(LOCAL, stage="stt", options={"hmm": str(tmp_path / "nothing")})

    with pytest.raises(ProbeFailedError, match="it: "):
        await provider("stt", "local").probe_for_real(rung, timeout_s=10.0)


@pytest.mark.real_time  # it is a process of its own
async def test_a_local_recogniser_that_is_too_slow_is_given_up() -> None:
    with pytest.raises(ProbeFailedError, match="does not answer"):
        await provider("stt", "local").probe_for_real(replace(LOCAL, stage="stt"), timeout_s=0.01)


@pytest.mark.parametrize("refused", [None, "note", "look_up"])
async def test_a_real_probe_offers_the_tools_and_names_the_one_that_is_refused(
    refused: str | None,
) -> None:
    tools = tuple(
        FunctionSchema(name=name, description="It.", properties={}, required=[])
        for name in ("look_up", "note", "book")
    )
    asked: list[list[str]] = []

    def refuses(body: dict[str, Any]) -> bool:
        asked.append([tool["function"]["name"] for tool in body["tools"]])
        return refused in asked[-1]

    words = [chunk({"content": "yes"}), chunk({}, "stop")]
    async with moderating(refuses, 400, lambda _: words, body={"error": {"code": "bad"}}) as url:
        rung = rung_spec("llm", "openai", url, sample_rate_hz=16_000, api_key="k")
        why = ""
        try:
            await provider("llm", "openai").probe_for_real(replace(rung, tools=tools), timeout_s=5)
        except ProbeFailedError as failed:
            why = failed.failure(rung).reason

    assert asked[0] == ["look_up", "note", "book"]
    assert (f"the tool {refused}: " in why) is (refused is not None)
    assert bool(why) is (refused is not None)
