"""The behaviour of a callee who answers: talks, hangs up in the middle, or is a machine."""

import asyncio
import functools
from collections.abc import Coroutine
from typing import Any, Final

import numpy as np

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.mulaw import Pcm
from lab.simulators.voices.voices import speak_now, voice_of

NAME: Final = "a caller"  # a voice that none of the lab's providers has
PATIENCE_S: Final = 25.0  # for the agent to speak
BEEP_S: Final = 0.5
BEEP_HZ: Final = 1000  # 3GPP and most mailboxes: a single tone of about 1 kHz
QUIET_S: Final = 0.9
QUIET_LEVEL: Final = 300  # of 32768


async def converse(call: Carrier, callee: Callee, judge: Coroutine[Any, Any, None]) -> None:
    """Play this callee in a running call, with the judge, until the call is over."""
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(judge), tasks.create_task(behave(call, callee))]
        await call.ended.wait()
        for item in beside:
            item.cancel()


async def behave(call: Carrier, callee: Callee) -> None:
    """Play this callee until the call is over."""
    try:
        if callee.greeting:
            await _record(call, callee)
        elif callee.lines:
            await _talk(call, callee)
    except TimeoutError:
        await call.hang_up()  # a caller without words
    except ConnectionError:
        return  # the agent has hung up


async def _talk(call: Carrier, callee: Callee) -> None:
    for line in callee.lines:
        await call.listen(quiet_s=QUIET_S, within_s=PATIENCE_S)
        await call.say(spoken(line, call.rate_hz))
    if callee.leaves_after_s is not None:
        since_s = call.now_s
        async with asyncio.timeout(PATIENCE_S):
            while not any(at > since_s for at in call.heard_at):
                if call.ended.is_set():
                    return
                await asyncio.sleep(0.05)
        await asyncio.sleep(callee.leaves_after_s)
    else:
        await call.listen(quiet_s=QUIET_S, within_s=PATIENCE_S)
    await call.hang_up()


async def _record(call: Carrier, callee: Callee) -> None:
    await call.say(spoken(callee.greeting, call.rate_hz))
    beep = np.sin(2 * np.pi * BEEP_HZ * np.arange(round(BEEP_S * call.rate_hz)) / call.rate_hz)
    await call.say((beep * 8000).astype(np.int16))
    await asyncio.sleep(callee.records_s)
    await call.hang_up()


@functools.cache
def spoken(text: str, rate_hz: int) -> Pcm:
    """Return a callee's words, without silence after them."""
    samples = speak_now(text, voice=voice_of(NAME), rate_hz=rate_hz).samples
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET_LEVEL)
    return samples[: int(loud[-1]) + 1]
