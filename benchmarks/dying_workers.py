"""Measures what callers hear when their worker is killed, or hangs, in the middle of an answer.

    .venv/bin/python -m benchmarks.dying_workers [--runs 10] [--workers 2]
        [--doors twilio,telnyx,plivo,livekit,browser] [--faults killed,frozen]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import difflib
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import soundfile

from benchmarks.figures import percentile
from lab.callers import caller_says, spoken_s
from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.drill.hearing import RecordedWord, Sent, bare, bare_words, heard_words, reply_words
from lab.drill.judge import compare_words
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.rig import CallerEar
from lab.drill.servers import GREETING
from lab.drill.sound import RATE_HZ, Pcm
from lab.drill.telephones import Telephone
from lab.process import LabOptions, RunningLab, lab_process
from operations.telemetry import logs
from providers.word_probe import PROMPT
from runtime.exits import CommandError
from tests.bot.server.page_telephone import PageTelephone
from tests.bot.server.peer import _loopback_only
from tests.bot.serving import Served, serving
from tests.bot.workers.carrier_lines import PlivoLine, TelnyxLine, Twilio, secrets_in
from tests.bot.workers.multi_worker import becomes, entries_of, workers_of
from tests.e2e.browser_telephone import BrowserTelephone
from tests.e2e.hearing import BROWSER
from tests.peers.children import UnprovenError
from tests.peers.media_server import running_media_server
from tests.peers.sip_telephone import SipTelephone

SIGNALS: Final = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
WITHIN_S: Final = {"killed": 2.5, "frozen": 5.0}  # from the fault to the next speech, p95
MAX_DOUBLED_WORDS: Final = 5  # the position that was heard is stored twice a second
FAULT_AFTER_S: Final = (0.8, 1.6, 2.4, 3.2, 4.0)  # into an answer of some ten seconds
QUESTION: Final = "What are your opening hours?"
SECOND_QUESTION: Final = "Where are you?"
HOURS: Final = "We open at nine, close at six, and on Saturday we are here from ten until two."
ANSWER: Final = f"Thank you for waiting. {HOURS} Is there anything else I can do for you?"
RESUMED: Final = "Sorry, that was a brief interruption."
TOOL: Final = '''"""The tool that the question needs; it writes down which process it ran in."""
import os

def opening_hours() -> str:
    """Says when we are open."""
    with open({runs!r}, "a") as runs:
        runs.write(f"{{os.getpid()}}\\n")
    return {said!r}
'''
SETTLED_S: Final = 2.0  # a worker that has just started is still busy with its own start
QUIET_S: Final = 2.0  # silence that ends an answer
RUN_S: Final = 120.0  # a safety limit for one run
STARTS_S: Final = 120.0  # a safety limit: the pool waits before it replaces a worker repeatedly


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoor:
    """A kind of line, ready for calls.

    Attributes:
        ring: Returns a telephone for a server's address.
        tree: The sections of the server's configuration for this line.
        port: The port on which the server must listen; `None` for any.
        path: The effect of codecs and filters on the voices' sound.
    """

    ring: Callable[[str], Telephone]
    tree: Mapping[str, Any]
    port: int | None = None
    path: EarPath = TELEPHONE


@dataclass(slots=True, kw_only=True)
class Death:
    """Result of one run: what the caller heard, and what Holdline did.

    Attributes:
        again_s: From the fault to the next speech; `None` if there was none.
        missing: Words of the answer that were not heard.
        extra: Words that were heard twice, or in the wrong place.
        torn: Words before the fault that were not found, although a later word was.
        greetings: How many greetings were heard after the fault.
        messages: The number of messages in the next request to the model.
        remembered: Whether each request after the fault has what the caller said before.
        tools: How often the tool ran.
        calls: The number of calls in the record.
        wrong: Other problems; empty if there were none.
        sound: Everything that the caller heard.
        heard: The words of the answer that were found in it, with their times.
    """

    again_s: float | None = None
    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    torn: Sequence[str] = ()
    greetings: int = 0
    messages: int = 0
    remembered: bool = False
    tools: int = 0
    calls: int = 0
    wrong: str = ""
    sound: Pcm | None = None
    heard: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether the pause was the only effect of the fault."""
        once = self.tools == self.calls == 1 and not self.greetings
        heard = (
            not self.missing and len(self.extra) <= MAX_DOUBLED_WORDS and self.again_s is not None
        )
        return once and heard and self.remembered and not self.wrong


Fault: TypeAlias = Callable[[int], Awaitable[None]]
"""Breaks what a call runs on, by its process; returns once that is broken."""


@dataclass(slots=True, kw_only=True)
class Place:
    """The servers of one phone number, their providers, and a line to them.

    Attributes:
        door: The line.
        url: The address that the line rings.
        servers: One, or one for each machine.
        lab: The providers.
        control: Asks them what they were asked.
        runs: A file with one line for each tool run: the process.
        workers: The number of all servers' workers.
    """

    door: OpenDoor
    url: str
    servers: Sequence[Served]
    lab: RunningLab
    control: LabControl
    runs: Path
    workers: int
    numbers: itertools.count = field(default_factory=itertools.count)

    def tool_runs(self) -> list[int]:
        """Return the processes in which the tool ran, in order."""
        return [int(pid) for pid in self.runs.read_text().split()] if self.runs.exists() else []

    async def until_all_work(self) -> None:
        """Wait until all workers are ready."""
        await becomes(lambda: self._count_alive() >= self.workers, within_s=STARTS_S)
        await asyncio.sleep(SETTLED_S)

    def _count_alive(self) -> int:
        return sum(
            Path(f"/proc/{pid}").exists()
            for served in self.servers
            for pid in workers_of(served).values()
        )


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if a line could not be tried."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="of each line and fault")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--doors", type=lambda text: text.split(","), default=USUAL_DOORS)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=[*SIGNALS])
    parser.add_argument("--keep", type=Path, help="folder for the audio of runs that missed")
    options = parser.parse_args()
    logs.set_up(level="ERROR", folder=None)
    codes = [_try_fault(door, fault, options) for door in options.doors for fault in options.faults]
    return 3 if 3 in codes else max(codes)


def _try_fault(name: str, fault: str, options: argparse.Namespace) -> int:
    """Measure and print one line and fault; return 0, 1 if the target was missed, or 3."""
    print(f"{name}, {fault}, {options.workers} workers, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="holdline-dying-") as folder:
        try:
            found = asyncio.run(_measure_deaths(name, fault, options, Path(folder)))
        except (
            UnprovenError,
            CommandError,
            RuntimeError,
        ) as why:  # here the measurement itself is broken
            print(f"  unproven: {why}")
            return 3
    again = [death.again_s if death.again_s is not None else float("inf") for death in found]
    whole = sum(death.whole for death in found)
    p50, p95 = (percentile(again, share) for share in (0.5, 0.95))
    good = p95 <= WITHIN_S[fault] and whole == len(found)
    print(
        f"  next speech after p50 {p50:.2f} s, p95 {p95:.2f} s (target {WITHIN_S[fault]:g} s);",
        end=" ",
    )
    print(f"{whole} of {len(found)} whole: {'met' if good else 'missed'}", flush=True)
    return 0 if good else 1


async def _measure_deaths(
    name: str, fault: str, options: argparse.Namespace, folder: Path
) -> Sequence[Death]:
    deaths = []
    async with _open_place(DOORS[name], options.workers, folder) as place:
        for number in range(options.runs):
            await place.until_all_work()
            into_s = FAULT_AFTER_S[number % len(FAULT_AFTER_S)]
            death = await run_once(place, partial(_send_signal, SIGNALS[fault]), into_s)
            show_death(number, death)
            await keep_missed(death, options.keep, f"{name}-{fault}-{number}")
            deaths.append(death)
    return deaths


async def _send_signal(fault: signal.Signals, pid: int) -> None:
    os.kill(pid, fault)


async def keep_missed(death: Death, folder: Path | None, name: str) -> None:
    """Write what was heard in a run that missed to the folder, if there is one."""
    if folder and death.sound is not None and not death.whole:
        await asyncio.to_thread(_write_death, death, folder / f"{name}.wav")


def _write_death(death: Death, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, death.sound, RATE_HZ)
    file.with_suffix(".txt").write_text("\n".join(death.heard))


@asynccontextmanager
async def _open_place(
    open_door: Callable[[Path], AbstractAsyncContextManager[OpenDoor]], workers: int, folder: Path
) -> AsyncIterator[Place]:
    """Open a line, and run a lab and a server for it, during the block."""
    runs = folder / "runs.txt"
    changes = {"server": {"workers": workers}, **agent_with_tool(folder, runs)}
    async with (
        open_door(folder) as door,
        lab_process(options=LabOptions(keep_audio=True)) as lab,
        LabControl(lab) as control,
    ):
        keys = secrets_in(door.tree)
        async with serving(
            lab, folder, changes={**changes, **door.tree}, environment=keys, port=door.port
        ) as served:
            yield Place(
                door=door,
                url=served.url,
                servers=[served],
                lab=lab,
                control=control,
                runs=runs,
                workers=workers,
            )


def agent_with_tool(folder: Path, runs: Path) -> dict[str, Any]:
    """Return the sections for an agent with the tool that the question needs.

    Args:
        folder: Where the configuration is; the tool is written beside it.
        runs: The file in which the tool notes its runs.
    """
    (folder / "hours.py").write_text(TOOL.format(runs=str(runs), said=HOURS), encoding="utf-8")
    return {
        "hold": {"render": False},
        "agent": {
            "greeting": GREETING,
            "resumed": RESUMED,
            "tools": [{"entry_point": "hours:opening_hours"}],
        },
    }


# -- one death


async def run_once(place: Place, fault: Fault, into_s: float, *, lasts_s: float = 0.0) -> Death:
    """Ask, break something in the middle of the answer, hear the rest, and ask again.

    Args:
        place: The servers.
        fault: What breaks.
        into_s: When, after the answer began.
        lasts_s: The second question is asked no earlier than so long after the fault.
    """
    death, runs_before = Death(), len(place.tool_runs())
    earlier_calls = {entry["call_id"] for entry in _new_entries(place, set())}
    telephone = place.door.ring(place.url)
    try:
        async with asyncio.timeout(RUN_S):
            async with telephone:
                times = await _talk_through_fault(place, telephone, fault, into_s, lasts_s=lasts_s)
                sound, began_at = telephone.heard(), telephone.started_at
            await becomes(lambda: "CallEnded" in _new_events(place, earlier_calls), within_s=20.0)
    except (TimeoutError, ConnectionError, ExceptionGroup) as broken:
        death.wrong = f"{type(broken).__name__} {broken}".strip()
        return death
    death.tools = len(place.tool_runs()) - runs_before
    death.calls = len({entry["call_id"] for entry in _new_entries(place, earlier_calls)})
    if (ends := _new_events(place, earlier_calls).count("CallEnded")) != 1:
        death.wrong = f"{ends} ends in the record"
    since_s = began_at - place.lab.started_at_s
    await _ask_lab(place, death, since_s, times)
    sent = await sent_between(place.control, since_s, since_s + times.end_s)
    await asyncio.to_thread(_judge_death, death, sound, sent, times, place.door.path)
    return death


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Moments of a call, in seconds since its start."""

    asked_s: float  # the end of the first question
    fault_s: float
    rested_s: float  # the agent has been silent for `QUIET_S` after the rest of the answer
    end_s: float


async def _talk_through_fault(
    place: Place, telephone: Telephone, fault: Fault, into_s: float, *, lasts_s: float
) -> Times:
    """Ask, break something `into_s` after the answer began, hear the rest, and ask again.

    Raises:
        ConnectionError: There was no answer, or the tool did not run.
    """
    ear = CallerEar(telephone)
    await ear.hear_answer(0.0, wanted_s=spoken_s(GREETING), within_s=20.0)
    before = len(place.tool_runs())
    asked_s = await telephone.say(caller_says(QUESTION))
    if not await ear.hear_some(into_s, since_s=asked_s, within_s=20.0):
        raise ConnectionError("no answer was heard")
    if len(place.tool_runs()) == before:
        raise ConnectionError("the tool did not run")
    gaps = len(_continued_calls(place))  # until another worker has taken over the call
    fault_s = telephone.now_s
    await fault(place.tool_runs()[-1])
    await becomes(lambda: len(_continued_calls(place)) > gaps)
    await ear.hear_some(0.3, since_s=telephone.now_s, within_s=10.0)
    while telephone.now_s - telephone.bursts()[-1][1] < QUIET_S:
        await ear.wait(0.1)
    rested_s = telephone.now_s
    await asyncio.sleep(max(0.0, fault_s + lasts_s - rested_s))
    second_s = await telephone.say(caller_says(SECOND_QUESTION))
    await ear.hear_some(1.0, since_s=second_s, within_s=15.0)
    return Times(asked_s=asked_s, fault_s=fault_s, rested_s=rested_s, end_s=telephone.now_s)


def _judge_death(death: Death, sound: Pcm, sent: list[Sent], times: Times, path: EarPath) -> None:
    """Find in the recording what was heard of the answer, and add it to `death`."""
    answer = sound[round(times.asked_s * RATE_HZ) : round(times.rested_s * RATE_HZ)]
    words = heard_words(answer, reply_words(sent, ANSWER), line=path)
    death.missing, death.extra = compare_words(words, ANSWER)
    early = [word for word in words if word.end_s < times.fault_s - times.asked_s]
    if early and (first := _count_covered(early, bare_words(ANSWER))):
        before = compare_words(early, " ".join(ANSWER.split()[:first]))
        death.torn = before[0]
        death.missing = _without_words(death.missing, death.torn)
    death.sound = sound
    death.heard = [f"{word.text} {times.asked_s + word.at_s:.2f}" for word in words]
    death.heard.append(f"fault {times.fault_s:.2f}")
    after = sound[round(times.fault_s * RATE_HZ) :]
    wanted = set(bare_words(RESUMED))
    back = [word for word in sent if bare(word.text) in wanted]
    heard = heard_words(after, back, line=path)
    death.again_s = heard[0].at_s if heard else None
    hello = [word for word in sent if bare(word.text) == "hello"]
    death.greetings = len(heard_words(after, hello, line=path))


def _count_covered(early: Sequence[RecordedWord], answer: Sequence[str]) -> int:
    """Return how many words of the answer precede or include the last of these words."""
    same = difflib.SequenceMatcher(
        a=answer, b=[bare(word.text) for word in early], autojunk=False
    ).get_matching_blocks()
    return max((block.a + block.size for block in same if block.size), default=0)


def _without_words(words: Sequence[str], others: Sequence[str]) -> list[str]:
    left = list(words)
    for word in others:
        if word in left:
            left.remove(word)
    return left


async def _ask_lab(place: Place, death: Death, since_s: float, times: Times) -> None:
    """Set `remembered` and `messages` from what the models were asked after the fault."""
    asked = [
        (request["at_s"] - since_s, request["details"])
        for name in place.control.names
        for request in await place.control.requests(name)
        if request["at_s"] > since_s and _is_of_call(request["details"])
    ]
    asked.sort(key=lambda request: request[0])
    earlier = [details["caller"] for at_s, details in asked if at_s <= times.fault_s][-1:]
    later = [details for at_s, details in asked if at_s > times.fault_s]
    asked_again = any(at_s > times.rested_s for at_s, _ in asked)
    kept = all(set(*earlier) <= set(details["caller"]) for details in later)
    death.remembered = asked_again and kept
    death.messages = later[0]["messages"] if later else 0


def _is_of_call(details: Mapping[str, Any]) -> bool:
    """Return whether a model got this request from a call, not from a probe of a rung in doubt."""
    return "messages" in details and details["caller"] != [PROMPT]


def _new_entries(place: Place, earlier_calls: set[str]) -> list[dict[str, Any]]:
    entries = [entry for served in place.servers for entry in entries_of(served)]
    return [entry for entry in entries if entry["call_id"] not in earlier_calls]


def _new_events(place: Place, earlier_calls: set[str]) -> list[str]:
    return [entry["event"] for entry in _new_entries(place, earlier_calls)]


def _continued_calls(place: Place) -> list[dict[str, Any]]:
    """Return the entries about calls that another process continued."""
    return [
        entry
        for entry in _new_entries(place, set())
        if entry["event"] == "CallStarted" and entry["gap_s"]
    ]


def show_death(number: int, death: Death) -> None:
    """Print the result of a run."""
    again = "never" if death.again_s is None else f"{death.again_s:.2f} s"
    print(
        f"  {number + 1:2}: speech after {again}; lost {len(death.missing)}, doubled"
        f" {len(death.extra)}; greetings {death.greetings}, messages {death.messages}"
        f"{'' if death.remembered else ' (forgot)'}, tools {death.tools}, calls {death.calls}"
        f" {'' if death.whole else 'NOT WHOLE'} {death.wrong}"
        f"{[*death.missing, '|', *death.extra] if death.missing or death.extra else ''}"
        f"{f' torn before: {death.torn}' if death.torn else ''}",
        flush=True,
    )


# -- lines


@asynccontextmanager
async def _open_carrier(
    line: Twilio | TelnyxLine | PlivoLine, folder: Path
) -> AsyncIterator[OpenDoor]:
    async with line.prepare(folder) as tree:
        yield OpenDoor(ring=line.carrier, tree=tree)


@asynccontextmanager
async def _open_livekit(folder: Path) -> AsyncIterator[OpenDoor]:
    numbers = itertools.count(1)
    with running_media_server(folder) as server:
        await server.add_number()
        door = {
            "enabled": True,
            "url": server.websocket_url,
            "api_key": server.key,
            "api_secret": server.secret,
        }
        yield OpenDoor(
            ring=lambda _: SipTelephone(folder / f"phone-{next(numbers)}", server.uri()),
            tree={"transports": {"livekit": door}},
            port=server.webhook_port,
            path=BROWSER,
        )


@asynccontextmanager
async def _open_browser(folder: Path) -> AsyncIterator[OpenDoor]:
    del folder
    with pytest.MonkeyPatch.context() as patch:  # WebRTC does not offer 127.0.0.1
        patch.setattr("aioice.ice.get_host_addresses", _loopback_only)
        yield OpenDoor(ring=PageTelephone, tree={}, path=BROWSER)


@asynccontextmanager
async def _open_chromium(folder: Path) -> AsyncIterator[OpenDoor]:
    del folder
    yield OpenDoor(ring=BrowserTelephone, tree={}, path=BROWSER)


DOORS: Final = {
    "twilio": partial(_open_carrier, Twilio()),
    "telnyx": partial(_open_carrier, TelnyxLine()),
    "plivo": partial(_open_carrier, PlivoLine()),
    "livekit": _open_livekit,
    "browser": _open_browser,
    "chromium": _open_chromium,
}
USUAL_DOORS: Final = [name for name in DOORS if name != "chromium"]


if __name__ == "__main__":
    sys.exit(main())
