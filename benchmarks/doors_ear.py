"""Compares when the far end of each door hears the agent with our own `v2v_s`.

    .venv/bin/python -m benchmarks.doors_ear [--turns 6] [--only sip,browser,carrier,microphone]

benchmarks/README.md describes the measurement and each door's known delay.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import yaml

from bot.exits import CommandError
from lab.control import LabControl
from lab.drill.evidence import judge_turn
from lab.drill.matching import TELEPHONE
from lab.drill.matrix import FULL
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import Row
from lab.drill.servers import GREETING
from lab.drill.telephones import CarrierTelephone
from lab.process import LabOptions, lab_process
from operations.telemetry import logs
from tests.bot.serving import AUTH_TOKEN, configuration, free_port, serving
from tests.e2e.browser_rig import CHANGES, open_browser_rig
from tests.e2e.page_mirror import measure_page
from tests.peers.children import UnprovenError
from tests.peers.echo import measure_line
from tests.peers.media_server import running_media_server
from tests.peers.sip_rig import open_sip_rig
from tests.transports.pulse_telephone import SoundCardTelephone, measure_card

QUESTIONS: Final = ("How much is a haircut?", "What are your opening hours?")
AGREE_S: Final = 0.06  # allowed difference between ear and our figure, next to the known delay
PACKET_S: Final = 0.02  # of a carrier: one on its way in, one on its way out
EARLY_S: Final = 0.3  # an answer may be reported as heard this long after the ear heard it
LIMIT_S: Final = 300.0  # a door that takes longer counts as not measurable


@dataclass(frozen=True, slots=True, kw_only=True)
class EarTurn:
    """One answer: our figure, what the ear heard, and the known part of the difference.

    Attributes:
        known_s: Delay of the path to the ear and from the mouth; `None` if it was not reported.
    """

    v2v_s: float
    ear_s: float
    known_s: float | None


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """A door and how to call it.

    Attributes:
        known_s: Its delay.
        tells: The far end also reports how long it held each answer back.
    """

    rig: Rig
    known_s: float
    tells: bool = False


def main() -> int:
    """Measure and print; return 0, 1 if ear and figure disagree, 3 if a door could not be tried."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--turns", type=int, default=6, help="answers at each door")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[*DOORS])
    options = parser.parse_args()
    logs.set_up(level="ERROR", folder=None)
    print(f"{'door':12}{'turn':>6}{'v2v_s':>8}{'ear':>8}{'later':>8}{'known':>8}{'beyond':>8}")
    codes = [_try_door(name, options.turns) for name in options.only]
    return 3 if 3 in codes else max(codes)


def _try_door(name: str, turns: int) -> int:
    with tempfile.TemporaryDirectory(prefix="holdline-ear-") as folder:
        try:
            found = asyncio.run(_measure(name, turns, Path(folder)))
        except TimeoutError:
            print(f"{name:12} unproven: not measured within {LIMIT_S:g} s")
            return 3
        except (UnprovenError, CommandError, ConnectionError, ExceptionGroup) as why:
            print(f"{name:12} unproven: {why}")  # here the measurement itself is broken
            return 3
    return 0 if _print(name, found) else 1


async def _measure(name: str, turns: int, folder: Path) -> Sequence[EarTurn]:
    """Ask at one door; return what both ends report of each answer."""
    row = next(item for item in FULL if item.name == "healthy")
    ears: list[float] = []
    async with asyncio.timeout(LIMIT_S), DOORS[name](row, folder) as door:
        telephone = door.rig.ring()
        call = Conversation(telephone, door.rig.lab, greeting=GREETING, path=door.rig.path)
        async with call:
            await call.wait_for_greeting()
            asked = [await call.ask(item) for item in islice(cycle(QUESTIONS), turns)]
            started_at = telephone.started_at
            for turn in asked:  # not in between: a silent caller would be prompted
                verdict = (await judge_turn(call, door.rig.control, turn)).verdict
                ears.append(verdict.first_speech_s or float("nan"))
        told = list(_told(door.rig.calls))
    held = {
        item["turn"]: door.known_s + item["buffer_s"]
        for item in told
        if item["event"] == "EarMeasured"
    }
    return [
        EarTurn(
            v2v_s=answer["v2v_s"],
            ear_s=ear_s,
            known_s=held.get(answer["turn"]) if door.tells else door.known_s,
        )
        for turn, ear_s in zip(asked, ears, strict=True)
        for answer in told
        # Both clocks are the machine's monotonic one; an answer that was split has several.
        if answer["event"] == "AnswerHeard"
        and turn.stop_s < answer["at_s"] - started_at < turn.stop_s + ear_s + EARLY_S
    ]


def _told(calls: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(calls.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _print(name: str, turns: Sequence[EarTurn]) -> bool:
    beyond = []
    for number, each in enumerate(turns, start=1):
        later_s = each.ear_s - each.v2v_s
        row = f"{name:12}{number:6}{each.v2v_s:8.3f}{each.ear_s:8.3f}{later_s:8.3f}"
        if each.known_s is None:
            print(f"{row}  the far end did not tell its delay")
            continue
        beyond.append(later_s - each.known_s)
        print(f"{row}{each.known_s:8.3f}{beyond[-1]:+8.3f}")
    if not beyond:
        print(f"{name:12} nothing to compare: unmet")
        return False
    middle_s = statistics.median(beyond)
    good = abs(middle_s) <= AGREE_S
    print(f"{name:12} median beyond the known delay {middle_s:+.3f} s:", end=" ")
    print(f"{'within' if good else 'not within'} {AGREE_S:g} s")
    return good


# -- doors


@asynccontextmanager
async def _sip(row: Row, folder: Path) -> AsyncIterator[OpenDoor]:
    with running_media_server(folder) as server:
        await server.add_number()
        line_s = statistics.median(await measure_line(server, folder / "line"))
        async with open_sip_rig(row, server, folder / "rig") as rig:
            yield OpenDoor(rig, line_s)


@asynccontextmanager
async def _browser(row: Row, folder: Path) -> AsyncIterator[OpenDoor]:
    way = await measure_page()
    async with open_browser_rig(row, folder) as rig:
        # The page reports how long it held each answer back; that is taken off.
        yield OpenDoor(rig, statistics.median(way.round_s) - way.buffer_s, tells=True)


@asynccontextmanager
async def _carrier(row: Row, folder: Path) -> AsyncIterator[OpenDoor]:
    async with (
        lab_process(options=LabOptions(steady=row.steady, keep_audio=True)) as lab,
        LabControl(lab) as control,
        serving(lab, folder, changes=CHANGES) as served,
    ):
        calls = served.logs / "calls"
        ring = partial(CarrierTelephone, served.url, token=AUTH_TOKEN)
        rig = Rig(row=row, lab=lab, control=control, ring=ring, calls=calls)
        yield OpenDoor(rig, 2 * PACKET_S)


@asynccontextmanager
async def _microphone(row: Row, folder: Path) -> AsyncIterator[OpenDoor]:
    card_s = await measure_card(folder)
    await asyncio.to_thread((folder / "card").mkdir)
    async with (
        lab_process(options=LabOptions(steady=row.steady, keep_audio=True)) as lab,
        LabControl(lab) as control,
    ):
        tree, keys = configuration(lab, free_port(), folder / "logs")
        tree |= CHANGES | {"transports": {"twilio": {"enabled": False}}}
        config = folder / "holdline.yaml"
        await asyncio.to_thread(config.write_text, yaml.safe_dump(tree), encoding="utf-8")
        yield OpenDoor(
            Rig(
                row=row,
                lab=lab,
                control=control,
                ring=lambda: SoundCardTelephone(config, keys, folder / "card"),
                calls=folder / "logs" / "calls",
                path=TELEPHONE,
            ),
            card_s,
        )


DOORS: Final = {"sip": _sip, "browser": _browser, "carrier": _carrier, "microphone": _microphone}


if __name__ == "__main__":
    sys.exit(main())
