"""Calls whose worker is killed, or hangs: another resumes them, and the caller hears the rest."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from lab.control import LabControl
from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.receptionist.phrases import hours
from lab.simulators.voices.voices import speak, voice_of
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.bot.workers.carrier_lines import PlivoLine, TelnyxLine, Twilio, secrets_in
from tests.bot.workers.multi_worker import TWO, becomes, entries_of, told, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

RATE_HZ = 8_000
ONE = {"server": {"workers": 1}, "hold": {"render": False}}
IN_FLIGHT = 5  # words: the heard position is stored twice a second
BACK = "Sorry, we were cut off for a moment. I am back."  # by default


async def ask(call: Carrier, words: str) -> None:
    spoken = await speak(words, voice=voice_of("a caller"), rate_hz=RATE_HZ)
    await call.say(np.concatenate([spoken.samples, np.zeros(RATE_HZ // 2, np.int16)]))


async def is_answered(call: Carrier) -> None:
    """Ask for the opening hours, and wait until the agent is in the middle of them."""
    await call.listen(within_s=20)
    began = len(call.heard_at)
    await ask(call, "What are your opening hours?")
    await becomes(lambda: len(call.heard_at) > began)
    at_s = call.heard_at[-1]
    await becomes(lambda: call.now_s >= at_s + 3.0)


async def goes_on(call: Carrier) -> None:
    """Hear the rest, and ask another question."""
    await call.listen(quiet_s=1.5, within_s=60)
    await ask(call, "Where are you?")
    await call.listen(within_s=20)


async def assert_heard_once(served: Served, lab: RunningLab, *others: Served) -> None:
    """Assert that one call of the record has the answer once, with what was said before."""
    servers = (served, *others)
    started = [call for server in servers for call in told(server, "CallStarted")]
    (resumed,) = [call for call in started if call["gap_s"]]
    ended = resumed["call_id"]
    await becomes(
        lambda: ended in {entry["call_id"] for item in servers for entry in told(item, "CallEnded")}
    )
    everything = [entry for server in servers for entry in entries_of(server)]
    entries = [entry for entry in everything if entry["call_id"] == resumed["call_id"]]
    words = [entry for entry in entries if entry["event"] == "AgentSaid" and not entry["by"]]
    said = " ".join(str(entry["text"]) for entry in words)
    answer = said.replace(BACK, "").partition("How can I help?")[2].partition("We are at twelve")[0]
    async with LabControl(lab) as control:
        models = [name for name in control.names if "openai" in name]
        asked = [request for name in models for request in await control.requests(name)]

    assert [entry["event"] for entry in entries].count("CallStarted") == 2
    assert [entry["event"] for entry in entries].count("CallEnded") == 1
    assert len({entry["number"] for entry in entries}) == len(entries)
    assert 0 <= len(answer.split()) - len(hours("").split()) <= IN_FLIGHT
    assert said.count("Hello") == said.count(BACK) == 1
    last = max(asked, key=lambda request: request["at_s"])
    assert last["details"]["messages"] == 6  # among them the earlier words of both


# Which moments of a call a death may hit is shown in `tests/bot/call/test_moments_of_death.py`.
async def test_a_call_whose_worker_is_frozen_continues_at_another(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        async with (
            Carrier(served.url, AUTH_TOKEN) as one,
            Carrier(served.url, AUTH_TOKEN) as other,
        ):
            await asyncio.gather(is_answered(one), is_answered(other))
            os.kill(workers_of(served)["w1"], signal.SIGSTOP)
            await becomes(lambda: bool(one.lost_at or other.lost_at))
            await goes_on(one if one.lost_at else other)
        await assert_heard_once(served, lab)
    assert len({entry["call_id"] for entry in told(served, "CallStarted")}) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(Twilio(), True, id="twilio"),
        pytest.param(TelnyxLine(), False, id="telnyx", marks=pytest.mark.doors),
        pytest.param(PlivoLine(), True, id="plivo", marks=pytest.mark.doors),
    ],
)
async def test_a_call_is_held_until_another_worker_is_ready_if_none_is_left(
    tmp_path: Path, line: Twilio | TelnyxLine | PlivoLine, *, said: bool, lab: RunningLab
) -> None:
    async with (
        line.prepare(tmp_path) as tree,
        serving(lab, tmp_path, changes={**ONE, **tree}, environment=secrets_in(tree)) as served,
    ):
        async with line.carrier(served.url) as call:
            await is_answered(call)
            os.kill(workers_of(served)["w1"], signal.SIGKILL)
            await becomes(lambda: bool(call.lost_at))
            await goes_on(call)
            assert bool(call.announcements) is said
        await assert_heard_once(served, lab)
