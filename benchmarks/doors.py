"""Measures the delay that each kind of line adds: answers at the far end, and rows of the drill.

    .venv/bin/python -m benchmarks.doors [--turns 6] [--only sip,browser,carrier,microphone]
        [--parts ears,rows]

benchmarks/README.md describes the measurement and the known delay of each line.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from lab.callers import Carrier
from lab.control import LabControl
from lab.drill.evidence import judge_turn
from lab.drill.matching import TELEPHONE
from lab.drill.matrix import FULL
from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import Row, Target
from lab.drill.servers import GREETING
from lab.process import LabOptions, lab_process
from operations.telemetry import logs
from runtime.exits import CommandError
from tests.bot.serving import AUTH_TOKEN, configuration, free_port, serving
from tests.e2e.browser_rig import CHANGES, open_browser_rig
from tests.e2e.page_mirror import measure_page
from tests.peers.children import UnprovenError
from tests.peers.echo import measure_line
from tests.peers.media_server import running_media_server
from tests.peers.sip_rig import open_sip_rig
from tests.transports.local.pulse_telephone import SoundCardTelephone, measure_card

QUESTIONS: Final = ("How much is a haircut?", "What are your opening hours?")
PARTS: Final = ("ears", "rows")
ROWS: Final = ("llm-silent", "tts-cut-reset", "all-dead", "barge-in-failover")
WITH_LINE_DELAY: Final = ("first_speech_s", "quiet_s")  # the measures that include it
AGREE_S: Final = 0.06  # allowed difference between both measurements, beyond the known delay
PACKET_S: Final = 0.02  # of a carrier: one on its way in, one on its way out
EARLY_S: Final = 0.3  # an answer may be reported as heard this long after the far end heard it
LIMIT_S: Final = 300.0  # a line that takes longer for its answers counts as unproven

OpenRig: TypeAlias = Callable[[Row, Path], AbstractAsyncContextManager[Rig]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarTurn:
    """One answer: our figure, that of the far end, and the known part of the difference.

    Attributes:
        v2v_s: The delay by our own record.
        ear_s: The delay that the far end heard.
        known_s: The delay of the line in both directions; `None` if it was not reported.
    """

    v2v_s: float
    ear_s: float
    known_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A kind of line, and how to call over it.

    Attributes:
        open_rig: Opens a rig for a row; its files go into the folder.
        line_s: The line's delay in both directions.
        held_s: The part of it in the far end's buffer, for which it reports a new value with each
            answer; `None` if it reports none.
        rows: Whether rows of the drill are played on this line.
    """

    open_rig: OpenRig
    line_s: float
    held_s: float | None = None
    rows: bool = True


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if a line could not be tried."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--turns", type=int, default=6, help="answers on each line")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[*DOORS])
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS)
    options = parser.parse_args()
    logs.set_up(level="ERROR", folder=None)
    print(f"{'door':12}{'turn':>6}{'v2v_s':>8}{'ear':>8}{'later':>8}{'known':>8}{'beyond':>8}")
    codes = [_try_door(name, options) for name in options.only]
    return 3 if 3 in codes else max(codes)


def _try_door(name: str, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="holdline-door-") as folder:
        try:
            return 0 if asyncio.run(_measure_line(name, options, Path(folder))) else 1
        except TimeoutError:
            print(f"{name:12} unproven: not measured within {LIMIT_S:g} s")
        except (UnprovenError, CommandError, ConnectionError, ExceptionGroup) as why:
            print(f"{name:12} unproven: {why}")  # here the measurement itself is broken
    return 3


async def _measure_line(name: str, options: argparse.Namespace, folder: Path) -> bool:
    """Measure one line; return whether its targets are met."""
    good, healthy_s = True, None
    rows = {row.name: row for row in FULL}
    async with DOORS[name](folder) as door:
        print(f"{name:12} the line, there and back: {door.line_s:.3f} s")
        if "ears" in options.parts:
            async with (
                asyncio.timeout(LIMIT_S),
                door.open_rig(rows["healthy"], folder / "ears") as rig,
            ):
                turns = await _ask_all(door, rig, options.turns)
            good = _print_answers(name, turns)
            healthy_s = statistics.median(turn.ear_s for turn in turns) if turns else None
        for row in ROWS if door.rows and "rows" in options.parts else ():
            run = MeasuredRun()
            async with door.open_rig(rows[row], folder / row) as rig:
                await play(rig, run)
            for target in rows[row].targets:
                measured = run.measures[target.measure]
                good &= _print_and_judge(
                    f"{name:12}{row}", target, measured, door.line_s, healthy_s
                )
    return good


# -- answers


async def _ask_all(door: Door, rig: Rig, count: int) -> Sequence[EarTurn]:
    """Ask `count` questions; return what both ends report about each answer."""
    ears: list[float] = []
    telephone = rig.ring()
    async with Conversation(telephone, rig.lab, greeting=GREETING, path=rig.path) as call:
        await call.wait_for_greeting()
        asked = [await call.ask(item) for item in islice(cycle(QUESTIONS), count)]
        started_at = telephone.started_at
        for number, turn in enumerate(asked, start=1):  # not between turns: silence causes a prompt
            verdict = (await judge_turn(call, rig.control, turn)).verdict
            if verdict.first_speech_s is None or not verdict.whole:
                print(f"answer {number} was not whole: {verdict.missing}, {verdict.extra}")
            ears.append(verdict.first_speech_s or float("nan"))
    events = list(_read_entries(rig.calls))
    known_s = door.line_s - (door.held_s or 0.0)
    held = {
        item["turn"]: known_s + item["buffer_s"]
        for item in events
        if item["event"] == "EarMeasured"
    }
    return [
        EarTurn(
            v2v_s=answer["v2v_s"],
            ear_s=ear_s,
            known_s=known_s if door.held_s is None else held.get(answer["turn"]),
        )
        for turn, ear_s in zip(asked, ears, strict=True)
        for answer in events
        # Both clocks are the machine's monotonic one; an answer that was split has several.
        if answer["event"] == "AnswerHeard"
        and turn.stop_s < answer["at_s"] - started_at < turn.stop_s + ear_s + EARLY_S
    ]


def _read_entries(calls: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(calls.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _print_answers(name: str, turns: Sequence[EarTurn]) -> bool:
    """Print each answer; return whether the median difference is close to the known delay."""
    beyond = []
    for number, turn in enumerate(turns, start=1):
        later_s = turn.ear_s - turn.v2v_s
        row = f"{name:12}{number:6}{turn.v2v_s:8.3f}{turn.ear_s:8.3f}{later_s:8.3f}"
        if turn.known_s is None:
            print(f"{row}  the far end did not report its delay")
            continue
        beyond.append(later_s - turn.known_s)
        print(f"{row}{turn.known_s:8.3f}{beyond[-1]:+8.3f}")
    if not beyond:
        print(f"{name:12} nothing to compare: unmet")
        return False
    middle_s = statistics.median(beyond)
    good = abs(middle_s) <= AGREE_S
    print(f"{name:12} median beyond the known delay {middle_s:+.3f} s:", end=" ")
    print(f"{'within' if good else 'not within'} {AGREE_S:g} s")
    return good


# -- rows


def _print_and_judge(
    name: str, target: Target, value: float, line_s: float, healthy_s: float | None
) -> bool:
    """Print a measure and its target; return whether it is met, or could not be judged."""
    text, limit, note = f"{name}: {target.measure} {value:.3f}", target.worst, ""
    if target.over and healthy_s is None:
        print(f"{text}, not compared: no healthy answers were measured")
        return True
    if target.over and healthy_s is not None:
        limit, note = limit + healthy_s, f" ({limit:g} plus a healthy answer)"
    elif target.measure in WITH_LINE_DELAY:
        limit, note = limit + line_s, f" ({limit:g} plus the line)"
    good = value >= limit if target.least else value <= limit
    bound = f"{'at least' if target.least else 'at most'} {limit:.3f}{note}"
    print(f"{text}, {bound}: {'met' if good else 'MISSED'}")
    return good


# -- lines


@asynccontextmanager
async def _open_sip(folder: Path) -> AsyncIterator[Door]:
    with running_media_server(folder) as server:
        await server.add_number()
        line_s = statistics.median(await measure_line(server, folder / "line"))
        yield Door(open_rig=lambda row, to: open_sip_rig(row, server, to), line_s=line_s)


@asynccontextmanager
async def _open_browser(_: Path) -> AsyncIterator[Door]:
    page = await measure_page()
    line_s = statistics.median(page.round_s)
    yield Door(open_rig=open_browser_rig, line_s=line_s, held_s=page.buffer_s)


@asynccontextmanager
async def _open_carrier(_: Path) -> AsyncIterator[Door]:
    """Open the carrier's line, for answers only: the drill itself plays its rows on it."""
    yield Door(open_rig=_carrier_rig, line_s=2 * PACKET_S, rows=False)


@asynccontextmanager
async def _carrier_rig(row: Row, folder: Path) -> AsyncIterator[Rig]:
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with (
        lab_process(options=LabOptions(steady=row.steady, keep_audio=True)) as lab,
        LabControl(lab) as control,
        serving(lab, folder, changes=CHANGES) as served,
    ):
        ring = partial(Carrier, served.url, AUTH_TOKEN)
        calls = served.logs / "calls"
        yield Rig(row=row, lab=lab, control=control, ring=ring, calls=calls)


@asynccontextmanager
async def _open_microphone(folder: Path) -> AsyncIterator[Door]:
    yield Door(open_rig=_microphone_rig, line_s=await measure_card(folder), rows=False)


@asynccontextmanager
async def _microphone_rig(row: Row, folder: Path) -> AsyncIterator[Rig]:
    await asyncio.to_thread((folder / "card").mkdir, parents=True)
    async with (
        lab_process(options=LabOptions(steady=row.steady, keep_audio=True)) as lab,
        LabControl(lab) as control,
    ):
        tree, keys = configuration(lab, free_port(), folder / "logs")
        tree |= CHANGES | {"transports": {"twilio": {"enabled": False}}}
        config = folder / "holdline.yaml"
        await asyncio.to_thread(config.write_text, yaml.safe_dump(tree), encoding="utf-8")
        yield Rig(
            row=row,
            lab=lab,
            control=control,
            ring=lambda: SoundCardTelephone(config, keys, folder / "card"),
            calls=folder / "logs" / "calls",
            path=TELEPHONE,
        )


DOORS: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[Door]]]] = {
    "sip": _open_sip,
    "browser": _open_browser,
    "carrier": _open_carrier,
    "microphone": _open_microphone,
}


if __name__ == "__main__":
    sys.exit(main())
