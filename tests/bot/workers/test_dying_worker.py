"""An operator's action while a worker dies is recorded, or reported as not done."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from lab.process import RunningLab
from tests.bot.serving import serving
from tests.bot.workers.multi_worker import TWO, becomes, log_of, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

ACTIONS = 40
KILLED_AT = 15


async def act(url: str, number: int) -> str:
    """Take a voice out of rotation or put it back; return the operator's answer."""
    action = "rest" if number % 2 == 0 else "return"
    word = {"by": "Mary", "why": f"reason {number:02d}"}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/api/providers/elevenlabs/{action}", json=word) as answer,
        ):
            said = await answer.json()
            return "done" if answer.status == 200 else str(said["detail"])
    except (aiohttp.ClientError, OSError):
        return "no answer"


async def test_a_confirmed_action_is_recorded_and_an_unconfirmed_one_is_reported(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        first = workers_of(served)["w1"]
        learnt = []
        async with asyncio.timeout(60):
            for number in range(ACTIONS):
                if number == KILLED_AT:
                    os.kill(first, signal.SIGKILL)
                learnt.append(await act(served.url, number))
        done = [number for number, word in enumerate(learnt) if word == "done"]

        assert all(learnt)
        assert len(done) >= ACTIONS - 2  # actions in progress, or on their way
        await becomes(lambda: all(f"reason {number:02d}" in log_of(served) for number in done))
        await becomes(lambda: len(workers_of(served)) == 3)
