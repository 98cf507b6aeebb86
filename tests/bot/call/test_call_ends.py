"""Whatever is thrown at the end of a call ends that call, and no other."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot import clock
from bot.call import call as call_module
from bot.call.assembly import Assembled
from calls.events import CallEnded, CallStarted
from faultlab.carrier.carrier import Carrier
from faultlab.carrier.webhook import PhoneCall
from tests.bot.http.peer import on_loopback, open_lines, peer
from tests.bot.judged_call import AUTH_TOKEN, JudgedCall, judged_call
from transports.leg import Leg
from transports.loopback import LoopbackLeg
from transports.twilio import TwilioLeg
from transports.webrtc import WebrtcLeg

__all__ = ["on_loopback"]

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("on_loopback", "quiet_log"),
]

RATE_HZ = 8_000
SILENCE = np.zeros(RATE_HZ, np.int16)
BROKEN = "+15005550666"  # the number of the caller whose leg is broken
METHODS = ("input", "output", "on_gone", "answered", "show", "hang_up")
STEPS: dict[str, Callable[[Assembled], tuple[object, str]]] = {
    "closing the tools": lambda it: (it.tools, "close"),
    "the observer": lambda it: (it.observer, "ended"),
    "the farewell": lambda it: (it.farewell, "part"),
    "cancelling": lambda it: (it.worker, "cancel"),
    "cancelling from within": lambda it: (it.worker.pipeline, "queue_frame"),
    "the first words": lambda it: (it.services.tts, "queue_frame"),
}


class BrokenError(Exception):
    """Thrown where nobody expects it."""


def throw(*_: Any, **__: Any) -> Any:
    raise BrokenError


async def throw_later(*_: Any, **__: Any) -> None:
    await asyncio.sleep(0.1)
    raise BrokenError


def breaking(leg: LoopbackLeg, *methods: str) -> LoopbackLeg:
    for each in methods:
        thrown = throw_later if each in {"answered", "hang_up"} else throw
        setattr(leg, each, thrown)
    return leg


def recorded() -> LoopbackLeg:
    return LoopbackLeg(SILENCE, sample_rate_hz=RATE_HZ, linger_s=4.0, clock=clock.monotonic)


async def answer(beside: JudgedCall, leg: Leg) -> None:
    """Have the house answer a leg; its call begins, ends, and gives its seat back."""
    before = beside.seats(), kinds(beside, CallStarted), kinds(beside, CallEnded)
    async with asyncio.timeout(60):
        await beside.switchboard.answer(leg)
    await asyncio.sleep(0.1)
    after = beside.seats(), kinds(beside, CallStarted), kinds(beside, CallEnded)
    assert after == (before[0], before[1] + 1, before[2] + 1)


def kinds(beside: JudgedCall, kind: type) -> int:
    return sum(isinstance(each, kind) for each in beside.events)


async def test_a_leg_that_throws_in_any_of_its_methods_ends_its_own_call_alone(
    tmp_path: Path,
) -> None:
    async with judged_call(tmp_path) as beside:
        unexpected = []
        for methods in [(each,) for each in METHODS] + [METHODS]:
            try:
                await answer(beside, breaking(recorded(), *methods))
            except Exception as thrown:  # noqa: BLE001 - all of them are to be seen
                unexpected.append((methods, repr(thrown)))

        assert unexpected == []
        beside.told[:] = [each for each in beside.told if type(each.event).__name__ != "CallFailed"]


async def test_a_step_of_the_end_that_throws_keeps_no_other_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    assemble = call_module.assemble

    def assemble_broken(shared: Any, leg: Leg, *args: Any, **kwargs: Any) -> Assembled:
        assembled = assemble(shared, leg, *args, **kwargs)
        for name in broken if leg.facts.transport == "loopback" else ():
            owner, method = STEPS[name](assembled)
            monkeypatch.setattr(owner, method, throw if name == "the observer" else throw_later)
        return assembled

    monkeypatch.setattr(call_module, "assemble", assemble_broken)
    async with judged_call(tmp_path) as beside:
        unexpected = []
        for steps in [[each] for each in STEPS] + [list(STEPS)]:
            broken[:] = steps
            try:
                await answer(beside, recorded())
            except Exception as thrown:  # noqa: BLE001 - all of them are to be seen
                unexpected.append((steps, repr(thrown)))

        assert unexpected == []
        beside.told[:] = [each for each in beside.told if type(each.event).__name__ != "CallFailed"]


async def test_an_apology_that_throws_ends_its_own_call_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "apologise", throw_later)
    async with judged_call(tmp_path) as beside:
        await answer(beside, breaking(recorded(), "input", "hang_up"))

        beside.told[:] = [each for each in beside.told if type(each.event).__name__ != "CallFailed"]


async def test_a_browser_s_leg_that_throws_ends_its_own_call_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged_call(tmp_path) as beside:
        for method in (*METHODS, "watch", "greet_with", "part_with"):
            thrown = throw_later if method in {"answered", "hang_up", "watch"} else throw
            with monkeypatch.context() as patched:
                patched.setattr(WebrtcLeg, method, thrown)
                async with peer(beside.url) as browser:
                    await browser.call()
                    await asyncio.sleep(3)
                await asyncio.sleep(15)
            assert beside.seats() == 1, method
        async with peer(beside.url) as browser:
            await browser.call()
            await browser.until_told("said")
        await asyncio.sleep(5)

        assert list(open_lines()) == []
        beside.told[:] = [each for each in beside.told if type(each.event).__name__ != "CallFailed"]


async def test_a_telephone_s_leg_that_throws_ends_its_own_call_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged_call(tmp_path) as beside:
        for method in METHODS:
            whole = getattr(TwilioLeg, method)

            def broken(leg: TwilioLeg, *args: Any, whole: Any = whole, name: str = method) -> Any:
                if leg.facts.caller != BROKEN:
                    return whole(leg, *args)
                return throw_later() if name in {"answered", "hang_up"} else throw()

            with monkeypatch.context() as patched:
                patched.setattr(TwilioLeg, method, broken)
                phone = PhoneCall(caller=BROKEN)
                async with Carrier(beside.url, AUTH_TOKEN, phone=phone) as caller:
                    await asyncio.sleep(2)
                    await caller.hang_up()
                await asyncio.sleep(15)
            assert beside.seats() == 1, method

        beside.told[:] = [each for each in beside.told if type(each.event).__name__ != "CallFailed"]
