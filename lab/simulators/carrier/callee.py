"""The carrier's callees, and the outcomes of calls to them."""

import asyncio
import functools
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from xml.etree import ElementTree

import numpy as np

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.mulaw import Pcm
from lab.simulators.voices.voices import speak_now, voice_of

Fate: TypeAlias = Literal["answered", "busy", "no-answer", "failed"]
SIP_CODES: Final[Mapping[Fate, int]] = {
    "answered": 200,
    "busy": 486,
    "no-answer": 487,
    "failed": 404,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A person or machine with a number; it is silent without `lines` and `greeting`."""

    fate: Fate = "answered"
    ring_s: float = 1.0
    talk_s: float = 3.0  # the length of the conversation with a transferred caller
    answered_by: str = "human"  # the result of answering-machine detection
    sip_code: int | None = None  # `None` for the outcome's usual status
    lines: tuple[str, ...] = ()  # what a person says, one line after each utterance of the agent
    leaves_after_s: float | None = None  # into the answer to the last line; `None`: after it
    greeting: str = ""  # a machine's, spoken at once; then it beeps and records
    records_s: float = 6.0  # how long a machine records

    @property
    def sip(self) -> int:
        """The SIP status for this outcome."""
        return self.sip_code or SIP_CODES[self.fate]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialVerb:
    """The verb that connects a live call to another person: `<Dial>` or `<Refer>`."""

    number: str
    action: str | None
    refers: bool = False
    timeout_s: float = 30.0
    callback: str | None = None
    events: Sequence[str] = ("completed",)


def read_dial_verb(text: str) -> DialVerb | None:
    """Return the `<Dial>` or `<Refer>` of a TwiML document, if it has one."""
    root = ElementTree.fromstring(text)  # noqa: S314 - written by the server under test
    refer, dial = root.find("Refer"), root.find("Dial")
    if refer is not None:
        return DialVerb(
            number=(refer.findtext("Sip") or "").strip(), action=refer.get("action"), refers=True
        )
    if dial is None:
        return None
    noun = dial.find("Number")
    if noun is None:
        noun = dial.find("Sip")
    return DialVerb(
        number=((noun.text if noun is not None else dial.text) or "").strip(),
        action=dial.get("action"),
        timeout_s=float(dial.get("timeout", "30")),
        callback=None if noun is None else noun.get("statusCallback"),
        events=("" if noun is None else noun.get("statusCallbackEvent", "completed")).split(),
    )


VOICE_NAME: Final = "a caller"  # a voice that none of the lab's providers has
TIMEOUT_S: Final = 25.0  # for the agent to speak
BEEP_S: Final = 0.5
BEEP_HZ: Final = 1000  # 3GPP and most mailboxes: a single tone of about 1 kHz
QUIET_S: Final = 0.9
QUIET_LEVEL: Final = 300  # of 32768


async def converse(
    call: Carrier, callee: Callee, report_detection: Coroutine[Any, Any, None]
) -> None:
    """Play this callee in a running call until the call is over.

    Meanwhile `report_detection` reports the result of answering-machine detection.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(report_detection), group.create_task(behave(call, callee))]
        await call.ended.wait()
        for task in tasks:
            task.cancel()


async def behave(call: Carrier, callee: Callee) -> None:
    """Play this callee until the call is over."""
    try:
        if callee.greeting:
            await _play_machine(call, callee)
        elif callee.lines:
            await _talk_as_person(call, callee)
    except TimeoutError:
        await call.hang_up()  # the agent has not spoken in time
    except ConnectionError:
        return  # the agent has hung up


async def _talk_as_person(call: Carrier, callee: Callee) -> None:
    """Say each line after an utterance of the agent, then hang up.

    The person leaves `leaves_after_s` into the agent's next utterance, or after all of it.

    Raises:
        TimeoutError: The agent has not spoken within `TIMEOUT_S`.
        ConnectionError: The call is over.
    """
    for line in callee.lines:
        await call.listen(quiet_s=QUIET_S, within_s=TIMEOUT_S)
        await call.say(synthesise_line(line, call.rate_hz))
    if callee.leaves_after_s is not None:
        since_s = call.now_s
        async with asyncio.timeout(TIMEOUT_S):
            while not any(at > since_s for at in call.heard_at):
                if call.ended.is_set():
                    return
                await asyncio.sleep(0.05)
        await asyncio.sleep(callee.leaves_after_s)
    else:
        await call.listen(quiet_s=QUIET_S, within_s=TIMEOUT_S)
    await call.hang_up()


async def _play_machine(call: Carrier, callee: Callee) -> None:
    """Play a machine: greeting and beep, then silence for `records_s`, then hang up."""
    await call.say(synthesise_line(callee.greeting, call.rate_hz))
    beep = np.sin(2 * np.pi * BEEP_HZ * np.arange(round(BEEP_S * call.rate_hz)) / call.rate_hz)
    await call.say((beep * 8000).astype(np.int16))
    await asyncio.sleep(callee.records_s)
    await call.hang_up()


@functools.cache
def synthesise_line(text: str, rate_hz: int) -> Pcm:
    """Return a callee's words as audio, without silence after them."""
    samples = speak_now(text, voice=voice_of(VOICE_NAME), rate_hz=rate_hz).samples
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET_LEVEL)
    return samples[: int(loud[-1]) + 1]
