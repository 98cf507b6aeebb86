"""An exception at the end of a call affects that call only."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.call import call as call_module
from bot.call.pipeline import CallPipeline
from calls.events import CallEnded, CallStarted
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import PhoneCall
from runtime import clock
from tests.bot.judged_call import AUTH_TOKEN, JudgedCall, judged_call, listening
from tests.bot.server.peer import on_loopback, open_lines, peer
from transports.leg import Gone, Leg
from transports.loopback.leg import LoopbackLeg
from transports.media_stream.leg import StreamLeg
from transports.webrtc.leg import WebrtcLeg

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
STEPS: dict[str, Callable[[CallPipeline], tuple[object, str]]] = {
    "closing the tools": lambda it: (it.tools, "close"),
    "keeping a callback": lambda it: (it.requests, "close"),
    "the observer": lambda it: (it.observer, "ended"),
    "the farewell": lambda it: (it.farewell, "end_call"),
    "cancelling from within": lambda it: (it.worker.pipeline, "queue_frame"),
    "cancelling": lambda it: (it.worker, "cancel"),
}


class BrokenError(Exception):
    """Raised in an unexpected place."""


def throw(*_: Any, **__: Any) -> Any:
    raise BrokenError


async def throw_later(*_: Any, **__: Any) -> None:
    await asyncio.sleep(0.1)
    raise BrokenError


async def cancel_itself(*_: Any, **__: Any) -> None:
    raise asyncio.CancelledError


HOW = {"throws": throw_later, "is cancelled within": cancel_itself}


def thrown_by(method: str, how: str) -> Callable[..., Any]:
    return throw if method == "ended" else HOW[how]


def breaking(leg: LoopbackLeg, *methods: str) -> LoopbackLeg:
    for method in methods:
        thrown = throw_later if method in {"answered", "hang_up"} else throw
        setattr(leg, method, thrown)
    return leg


class ApartLeg(LoopbackLeg):
    """Reports its end in a task of its own, as carriers and browsers do."""

    telling: asyncio.Future[None] | None = None

    def on_gone(self, gone: Gone) -> None:
        async def apart(reason: str) -> None:
            self.telling = asyncio.ensure_future(gone(reason))

        super().on_gone(apart)


class BriefLeg(LoopbackLeg):
    """Ends a number of loop steps after its call has asked for the end."""

    telling: asyncio.Task[None] | None = None
    steps = 0

    def on_gone(self, gone: Gone) -> None:
        async def emit() -> None:
            for _ in range(self.steps):
                await asyncio.sleep(0)
            await gone("caller_hung_up")

        self.telling = asyncio.create_task(emit())


def recorded() -> LoopbackLeg:
    return ApartLeg(SILENCE, sample_rate_hz=RATE_HZ, linger_s=4.0, clock=clock.monotonic)


async def answer(beside: JudgedCall, leg: Leg) -> None:
    """Answer a leg; its call begins, ends, and frees its seat."""
    before = beside.seats(), kinds(beside, CallStarted), kinds(beside, CallEnded)
    async with asyncio.timeout(60):
        await beside.switchboard.answer(leg)
    await asyncio.sleep(0.1)
    after = beside.seats(), kinds(beside, CallStarted), kinds(beside, CallEnded)
    assert after == (before[0], before[1] + 1, before[2] + 1)


async def left_alone(beside: JudgedCall, method: str) -> None:
    """Return when the judged call is the only one again."""
    for _ in range(60):
        if beside.seats() == 1:
            return
        await asyncio.sleep(1)
    raise AssertionError(f"a call goes on although its leg threw in {method}")


def forget_others(beside: JudgedCall) -> None:
    """Keep only the events of the judged call, which is the first one."""
    own = next(entry.call_id for entry in beside.told if isinstance(entry.event, CallStarted))
    beside.told[:] = [entry for entry in beside.told if entry.call_id == own]


def kinds(beside: JudgedCall, kind: type) -> int:
    return sum(isinstance(event, kind) for event in beside.events)


async def test_a_leg_that_raises_in_any_method_ends_only_its_own_call(
    tmp_path: Path,
) -> None:
    async with judged_call(tmp_path) as beside:
        unexpected = []
        for methods in [(method,) for method in METHODS] + [METHODS]:
            try:
                await answer(beside, breaking(recorded(), *methods))
            except Exception as thrown:  # noqa: BLE001 - all of them are to be seen
                unexpected.append((methods, repr(thrown)))

        assert unexpected == []
        forget_others(beside)


@pytest.mark.parametrize("how", HOW)
async def test_a_failing_step_at_the_end_does_not_prevent_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    broken: list[str] = []

    def build_broken(shared: Any, leg: Leg, *args: Any, **kwargs: Any) -> CallPipeline:
        pipeline = CallPipeline(shared, leg, *args, **kwargs)
        for name in broken if leg.facts.transport == "loopback" else ():
            owner, method = STEPS[name](pipeline)
            monkeypatch.setattr(owner, method, thrown_by(method, how))
        return pipeline

    monkeypatch.setattr(call_module, "CallPipeline", build_broken)
    async with judged_call(tmp_path) as beside:
        unexpected = []
        for steps in [*([step] for step in STEPS), [*STEPS]]:
            broken[:] = steps
            try:
                await answer(beside, recorded())
            except Exception as thrown:  # noqa: BLE001 - all of them are to be seen
                unexpected.append((steps, repr(thrown)))

        assert unexpected == []
        forget_others(beside)


async def test_an_apology_that_raises_ends_only_its_own_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "apologise", throw_later)
    async with judged_call(tmp_path) as beside:
        await answer(beside, breaking(recorded(), "input", "hang_up"))

        forget_others(beside)


async def test_a_browsers_leg_that_raises_ends_only_its_own_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged_call(tmp_path) as beside:
        for method in (*METHODS, "watch", "send_on_open", "send_on_close"):
            thrown = throw_later if method in {"answered", "hang_up", "watch"} else throw
            with monkeypatch.context() as patched:
                patched.setattr(WebrtcLeg, method, thrown)
                async with peer(beside.url) as browser:
                    await browser.call()
                    await asyncio.sleep(3)
                await left_alone(beside, method)
        async with peer(beside.url) as browser:
            await browser.call()
            await browser.until_told("said")
        await asyncio.sleep(5)

        assert list(open_lines()) == []
        forget_others(beside)


async def test_a_telephones_leg_that_raises_ends_only_its_own_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged_call(tmp_path) as beside:
        for method in METHODS:
            whole = getattr(StreamLeg, method)

            def broken(leg: StreamLeg, *args: Any, whole: Any = whole, name: str = method) -> Any:
                if leg.facts.caller != BROKEN:
                    return whole(leg, *args)
                return throw_later() if name in {"answered", "hang_up"} else throw()

            with monkeypatch.context() as patched:
                patched.setattr(StreamLeg, method, broken)
                phone = PhoneCall(caller=BROKEN)
                async with Carrier(beside.url, AUTH_TOKEN, phone=phone) as caller:
                    await asyncio.sleep(2)
                    await caller.hang_up()
                await left_alone(beside, method)

        forget_others(beside)


async def test_a_caller_who_leaves_during_the_start_frees_the_seat(tmp_path: Path) -> None:
    loop, took_s = asyncio.get_running_loop(), dict[int, float]()
    async with listening(tmp_path, {}, None) as beside:
        for steps in (0, 1, 3, 8, 21, 55, 144, 377):
            leg = BriefLeg(SILENCE, sample_rate_hz=RATE_HZ, linger_s=4.0, clock=clock.monotonic)
            leg.steps, began_at = steps, loop.time()
            await answer(beside, leg)
            took_s[steps] = loop.time() - began_at

    assert {steps: each for steps, each in took_s.items() if each > 1.0} == {}
