"""Cold standbys, and limits on connections, of voices and recognisers."""

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fallbacks.events import AttemptFailed, AttemptWon, LimitReached, Suspected
from fallbacks.ladder import StagePolicy
from fallbacks.limits import Limits
from lab.simulators.faults import Refuse
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from processors.ladder.gate import RungGate
from tests.processors.hearing import stt_call
from tests.processors.hearing.stt_call import calling, words
from tests.processors.speaking import tts_bench
from tests.processors.speaking.tts_bench import laboratory, talking

pytestmark = pytest.mark.virtual_time

VOICES = ("cartesia", "elevenlabs")
TEXT = "We open at nine."
HEARD = "What are your opening hours?"


def gates(limits: Mapping[str, int]) -> dict[str, RungGate]:
    return {
        name: RungGate(Limits(concurrent=places), clock=time.monotonic)
        for name, places in limits.items()
    }


def voices(*, cold: bool = False, limits: Mapping[str, int] | None = None) -> StagePolicy:
    policy = tts_bench.policy(VOICES, time.monotonic())
    return replace(
        policy,
        cold=frozenset(VOICES[1:]) if cold else frozenset(),
        gates=gates(limits or {}),
    )


def sockets(lab: Lab, name: str) -> int:
    """Return how many connections were requested from a simulated provider."""
    return len([request for request in lab.record.requests(name) if request.method == "GET"])


async def test_a_warm_standby_is_connected_before_it_is_needed() -> None:
    async with laboratory() as lab, talking(lab, shared=voices()) as talk:
        await talk.until(lambda: sockets(lab, "elevenlabs") == 1)


async def test_a_cold_standby_opens_no_connection_in_a_healthy_call() -> None:
    async with laboratory() as lab:
        async with talking(lab, shared=voices(cold=True)) as talk:
            await talk.reply(TEXT)
            await talk.until(lambda: talk.said == [TEXT])

        assert sockets(lab, "elevenlabs") == 0


async def test_a_cold_standby_speaks_when_needed_and_is_not_suspect() -> None:
    async with laboratory() as lab:
        lab.instance("cartesia").set_faults([Window(fault=Refuse())])
        async with talking(lab, shared=voices(cold=True)) as talk:
            await talk.reply(TEXT)
            await talk.until(lambda: talk.said == [TEXT])
            await talk.reply("On Sunday we are closed.")
            await talk.until(lambda: len(talk.said) == 2)

        assert sockets(lab, "elevenlabs") == 1
        assert [fact.provider for fact in talk.facts(AttemptWon)] == ["elevenlabs"] * 2
        assert not [fact for fact in talk.facts(Suspected) if fact.provider == "elevenlabs"]


async def test_a_cold_standby_that_cannot_be_reached_is_given_up() -> None:
    async with laboratory() as lab:
        for voice in VOICES:
            lab.instance(voice).set_faults([Window(fault=Refuse())])
        async with talking(lab, shared=voices(cold=True)) as talk:
            await talk.reply(TEXT)
            await talk.until(lambda: talk.unsaid == [TEXT])

        assert "elevenlabs" in {fact.provider for fact in talk.facts(AttemptFailed)}


async def test_a_call_over_a_voices_limit_starts_with_the_next_rung() -> None:
    policy = voices(limits={"cartesia": 1})
    async with laboratory() as lab:
        async with talking(lab, shared=policy) as first, talking(lab, shared=policy) as second:
            for talk in (first, second):
                await talk.reply(TEXT)
                await talk.until(lambda talk=talk: talk.said == [TEXT])

        assert sockets(lab, "cartesia") == 1
        async with talking(lab, shared=policy) as third:  # the place is free again
            await third.reply(TEXT)
            await third.until(lambda: third.said == [TEXT])
        assert [fact.provider for fact in third.facts(AttemptWon)] == ["cartesia"]
        assert [fact.provider for fact in first.facts(AttemptWon)] == ["cartesia"]
        assert [fact.provider for fact in second.facts(AttemptWon)] == ["elevenlabs"]
        assert not second.facts(AttemptFailed)


@pytest.fixture
def recognisers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The changes in the recognisers' policy."""
    changes: dict[str, object] = {}
    made = stt_call.policy_of
    monkeypatch.setattr(
        stt_call, "policy_of", lambda *args, **kwargs: replace(made(*args, **kwargs), **changes)
    )
    return changes


async def test_a_cold_recogniser_opens_no_connection_in_a_healthy_call(
    recognisers: dict[str, object],
) -> None:
    recognisers["cold"] = frozenset({"b"})
    async with calling() as call:
        text = await call.says(HEARD)

    assert words(text) == words(HEARD)
    assert sockets(call.lab, "b") == 0


async def test_a_cold_recogniser_writes_all_of_it_when_it_is_needed(
    recognisers: dict[str, object],
) -> None:
    recognisers["cold"] = frozenset({"b"})
    async with calling(faults={"a": Refuse()}) as call:
        text = await call.says(HEARD)

    assert words(text) == words(HEARD)
    assert [fact.provider for fact in call.facts(AttemptWon)] == ["b"]


async def test_a_call_over_a_recognisers_limit_is_heard_by_the_next_one(
    recognisers: dict[str, object],
) -> None:
    full = gates({"a": 1})
    full["a"].seat()
    recognisers["gates"] = full
    async with calling() as call:
        text = await call.says(HEARD)

    assert words(text) == words(HEARD)
    assert sockets(call.lab, "a") == 0
    assert [fact.provider for fact in call.facts(AttemptWon)] == ["b"]
    assert not call.facts(AttemptFailed)
    assert not call.facts(LimitReached)
