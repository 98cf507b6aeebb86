"""Calls whose worker is killed: another takes them up, and the caller hears the rest."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from bot.lab.control import LabControl
from bot.lab.process import lab_process
from faultlab.carrier.carrier import Carrier
from faultlab.receptionist.phrases import hours
from faultlab.voices.voices import speak, voice_of
from tests.bot.house.many import TWO, becomes, entries_of, told, workers_of
from tests.bot.serving import AUTH_TOKEN, serving

pytestmark = [pytest.mark.slow, pytest.mark.long]

RATE_HZ = 8_000
IN_FLIGHT = 5  # words: what was heard is kept twice a second


async def ask(call: Carrier, words: str) -> None:
    spoken = await speak(words, voice=voice_of("a caller"), rate_hz=RATE_HZ)
    await call.say(np.concatenate([spoken.samples, np.zeros(RATE_HZ // 2, np.int16)]))


async def speaks_for(call: Carrier, for_s: float) -> None:
    """Wait until the agent has spoken for so long without a pause."""
    began = len(call.heard_at)
    await becomes(lambda: len(call.heard_at) > began)
    at_s = call.heard_at[-1]
    await becomes(lambda: call.now_s >= at_s + for_s)


async def test_a_call_whose_worker_is_killed_goes_on_at_another(tmp_path: Path) -> None:
    async with lab_process() as lab, serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        async with (
            Carrier(served.url, AUTH_TOKEN) as one,
            Carrier(served.url, AUTH_TOKEN) as other,
        ):
            await asyncio.gather(one.listen(within_s=20), other.listen(within_s=20))
            question = "What are your opening hours?"
            await asyncio.gather(*(ask(each, question) for each in (one, other)))
            await asyncio.gather(*(speaks_for(each, 3.0) for each in (one, other)))
            os.kill(workers_of(served)["w1"], signal.SIGKILL)
            await becomes(lambda: bool(one.lost_at or other.lost_at))
            lost = one if one.lost_at else other
            await lost.listen(quiet_s=1.5, within_s=60)
            await ask(lost, "Where are you?")
            await lost.listen(within_s=20)
        async with LabControl(lab) as control:
            asked = [
                each["details"]
                for name in control.names
                if "openai" in name
                for each in await control.requests(name)
            ]

    started = told(served, "CallStarted")
    (resumed,) = [each for each in started if each["gap_s"]]
    entries = [each for each in entries_of(served) if each["call_id"] == resumed["call_id"]]
    said = " ".join(str(each["text"]) for each in entries if each["event"] == "AgentSaid")
    assert len(started) == 3
    assert len({each["call_id"] for each in started}) == 2
    assert [each["reason"] for each in told(served, "CallEnded")] == ["caller_hung_up"] * 2
    answer = said.partition("How can I help?")[2].partition("We are at twelve")[0]
    assert 0 <= len(answer.split()) - len(hours("").split()) <= IN_FLIGHT
    assert said.count("Hello") == 1
    assert asked[-1]["messages"] == 6  # among them what was said before, by both
