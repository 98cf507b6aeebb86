"""Several workers behind one port: real processes, real calls, and an operator's signals."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import NotConnectedError
from lab.simulators.voices.voices import speak, voice_of
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.bot.workers.multi_worker import TWO, becomes, log_of, told, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

RATE_HZ = 8_000


async def test_calls_land_on_both_and_a_worker_that_is_killed_is_replaced(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        async with (
            Carrier(served.url, AUTH_TOKEN) as one,
            Carrier(served.url, AUTH_TOKEN) as other,
        ):
            await both_greeted(one, other)
            os.kill(workers_of(served)["w1"], signal.SIGKILL)
            await becomes(lambda: bool(one.lost_at or other.lost_at))
            left, lost = (other, one) if one.lost_at else (one, other)
            assert (await lost.listen(within_s=20)).size > RATE_HZ  # it started over at another

            async with Carrier(served.url, AUTH_TOKEN) as third:  # the port keeps answering
                assert (await third.listen(within_s=20)).size > RATE_HZ
            await becomes(lambda: len(workers_of(served)) == 3)

            metrics = await metrics_with(served, "holdline_calls_active 2.0")
            assert 'calls_started_total{transport="twilio"} 3.0' in metrics  # the resumed one once

            await metrics_with(served, "holdline_workers_lost_total 1.0")
            await metrics_with(served, 'holdline_workers_started_total{cause="lost"} 1.0')
            assert '"worker": "w1", "code": -9, "calls": 1' in log_of(served)

            assert not left.ended.is_set()
            assert not lost.ended.is_set()
            assert "w1 has ended with -9, 1 calls interrupted" in log_of(served)
            assert "all 1 calls of worker w1 go on" in log_of(served)
            assert "CallsLost" not in log_of(served)
            await metrics_with(served, "holdline_worker_calls_interrupted_total 1.0")
            assert served.process.returncode is None
    assert served.process.returncode == 0


async def test_a_call_whose_stream_dies_continues_at_its_worker(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        async with (
            Carrier(served.url, AUTH_TOKEN) as one,
            Carrier(served.url, AUTH_TOKEN) as other,
        ):
            await both_greeted(one, other)
            await asyncio.gather(one.break_off(), other.break_off())
            await becomes(lambda: len(told(served, "LineRestored")) == 2)
            for call in (one, other):
                await call.say(np.concatenate([await question(), np.zeros(RATE_HZ, np.int16)]))
                assert (await call.listen(within_s=20)).size > RATE_HZ

    assert len(told(served, "CallStarted")) == 2
    assert {item["reason"] for item in told(served, "CallEnded")} == {"caller_hung_up"}


async def both_greeted(one: Carrier, other: Carrier) -> None:
    """Wait for both greetings at once: that of the second caller may end before the first one's."""
    for heard in await asyncio.gather(one.listen(within_s=20), other.listen(within_s=20)):
        assert heard.size > RATE_HZ


async def question() -> NDArray[np.int16]:
    """Return a caller's words at telephone rate."""
    words = "What are your opening hours?"
    return (await speak(words, voice=voice_of("a caller"), rate_hz=RATE_HZ)).samples


async def test_sigterm_while_a_lost_worker_is_replaced_is_no_failure(
    tmp_path: Path, lab: RunningLab
) -> None:
    changes = TWO | {"server": {"workers": 1}}
    async with serving(lab, tmp_path, changes=changes) as served:
        await becomes(lambda: len(workers_of(served)) == 1)
        os.kill(workers_of(served)["w1"], signal.SIGKILL)
        await becomes(lambda: "worker w2 replaces a lost worker" in log_of(served))
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{served.url}/healthz") as lives:
                assert (lives.status, await lives.json()) == (200, {"status": "ok"})
            async with session.get(f"{served.url}/readyz") as ready:
                assert (ready.status, (await ready.json())["reasons"]) == (503, ["starting"])
        served.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40):
            assert await served.process.wait() == 0


async def test_sigterm_drains_all_workers_and_no_connection_is_reset_while_one_leaves(
    tmp_path: Path, lab: RunningLab
) -> None:
    changes = TWO | {"shutdown": {"drain_s": 60}}
    async with serving(lab, tmp_path, changes=changes) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        async with Carrier(served.url, AUTH_TOKEN) as one:  # at w1, which gets new connections
            await one.listen(within_s=20)
            async with Carrier(served.url, AUTH_TOKEN) as other:
                await other.listen(within_s=20)
                served.process.send_signal(signal.SIGTERM)
                await drains(served.url)
                with pytest.raises(NotConnectedError):
                    async with Carrier(served.url, AUTH_TOKEN):
                        pass
                await one.hang_up()
                answers = await ring_until_one_has_left(served)
                assert not other.ended.is_set()
        async with asyncio.timeout(40):
            assert await served.process.wait() == 0

    assert set(answers) == {503}
    assert {item["reason"] for item in told(served, "CallEnded")} == {"caller_hung_up"}


async def ring_until_one_has_left(served: Served) -> list[int]:
    """Ask on connection after connection until a worker has ended; raise if one is reset."""
    answers: list[int] = []
    connector = aiohttp.TCPConnector(force_close=True)
    async with asyncio.timeout(40), aiohttp.ClientSession(connector=connector) as session:
        while " has ended with 0" not in log_of(served):
            asked = [session.get(f"{served.url}/readyz") for _ in range(4)]
            for answer in await asyncio.gather(*asked):
                answers.append(answer.status)
                answer.release()
    return answers


async def metrics_with(served: Served, line: str) -> str:
    """Return the scrape that has this line: the third caller's end is being told."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{served.url}/metrics") as answer:
                text = await answer.text()
            if line in text.splitlines():
                return text
            await asyncio.sleep(0.1)


async def drains(url: str) -> None:
    """Wait until the server accepts no more calls."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if "draining" in (await answer.json())["reasons"]:
                    return
            await asyncio.sleep(0.05)


async def test_workers_end_by_themselves_when_the_supervisor_is_killed(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=TWO) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        served.process.kill()
        await served.process.wait()

        await becomes(lambda: not any(works(worker) for worker in workers_of(served).values()))


def works(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
