"""Measures a line over SIP: the line alone, answers at the phone's ear, rows of the drill.

    .venv/bin/python benchmarks/sip_door.py [--turns N] [--only line,turns,rows] [--keep DIR]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from lab.drill.rig import Rig
    from lab.drill.rows import Row, Target
    from tests.peers.media_server import MediaServer

    OpenRig: TypeAlias = Callable[[str], AbstractAsyncContextManager[Rig]]

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in
PARTS: Final = ("line", "turns", "rows")
ROWS: Final = ("llm-silent", "tts-cut-reset", "all-dead", "barge-in-failover")
QUESTIONS: Final = ("How much is a haircut?", "What are your opening hours?")
AGREE_S: Final = 0.06  # ear and our own figure, once the line's delay is taken off
LATE: Final = ("first_speech_s", "quiet_s")  # measures that hold the line's delay


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredTurn:
    """One answer: our figure, and what the phone heard.

    Attributes:
        held_s: How long the far end says that it held this answer back.
    """

    v2v_s: float
    ear_s: float
    held_s: float


@dataclass(frozen=True, slots=True)
class Given:
    """Measures of the line, taken before the rows.

    Attributes:
        line_s: The line's own delay, there and back.
        healthy_s: When a healthy answer begins at the phone's ear; `None` if it was not measured.
    """

    line_s: float
    healthy_s: float | None


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if nothing could be measured."""
    options = _options()
    sys.path.insert(0, str(ROOT))
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path
    from tests.peers.children import UnprovenError  # noqa: PLC0415 - as above
    from tests.peers.media_server import running_media_server  # noqa: PLC0415 - as above

    logs.set_up(level="WARNING", folder=None)
    with tempfile.TemporaryDirectory(prefix="holdline-sip-") as place:
        folder = options.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with running_media_server(folder) as media_server:
                return asyncio.run(_measure(media_server, options, folder))
        except UnprovenError as why:
            print(f"unproven: {why}")
            return 3


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=6, help="answers to measure")
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS)
    parser.add_argument("--keep", type=Path, help="where everybody's files go")
    return parser.parse_args()


async def _measure(media_server: "MediaServer", options: argparse.Namespace, folder: Path) -> int:
    from tests.peers.echo import measure_line  # noqa: PLC0415 - found once the root is on the path
    from tests.peers.sip_rig import open_sip_rig, row_of  # noqa: PLC0415 - as above

    await media_server.add_number()
    loop = await measure_line(media_server, folder / "line")
    return await measure_door(
        loop,
        options,
        lambda name: open_sip_rig(row_of(name), media_server, folder / name),
    )


async def measure_door(
    loop: Sequence[float],
    options: argparse.Namespace,
    open_rig: "OpenRig",
    *,
    held_s: float = 0.0,
) -> int:
    """Ask, play the rows, print, and return the exit code.

    Args:
        loop: How long each of some tones needed there and back.
        options: `only` and `turns` of the command line.
        open_rig: Makes a rig for the row of this name.
        held_s: What the far end held back of those tones. It holds back another time of an answer,
            and tells it: so answers are compared without either.
    """
    line_s = statistics.median(loop)
    print(f"the line, there and back: {_spread(loop)}")
    good, healthy_s = True, None
    if "turns" in options.only:
        turns = await _turns(open_rig, options.turns)
        good &= _judge_turns(turns, line_s - held_s)
        healthy_s = statistics.median(turn.ear_s for turn in turns)
    for name in ROWS if "rows" in options.only else ():
        good &= await _play(name, open_rig, Given(line_s, healthy_s))
    return 0 if good else 1


# -- answers


async def _turns(open_rig: "OpenRig", count: int) -> list[AnsweredTurn]:
    """Ask; return what both ends report of each answer."""
    from lab.drill.evidence import judge_turn  # noqa: PLC0415 - found once the root is on the path

    ears: list[float] = []
    async with open_rig("healthy") as rig:
        async with rig.call() as call:
            await call.wait_for_greeting()
            for number in range(count):
                turn = await call.ask(QUESTIONS[number % len(QUESTIONS)])
                verdict = (await judge_turn(call, rig.control, turn)).verdict
                if verdict.first_speech_s is None or not verdict.whole:
                    print(f"answer {number + 1} was not whole: {verdict.missing}, {verdict.extra}")
                ears.append(verdict.first_speech_s or 0.0)
        heard = list(_told(rig.calls, "AnswerHeard"))
        held = {item["turn"]: item["buffer_s"] for item in _told(rig.calls, "EarMeasured")}
    return [
        AnsweredTurn(v2v_s=own["v2v_s"], ear_s=ear_s, held_s=held.get(own["turn"], 0.0))
        for own, ear_s in zip(heard, ears, strict=True)
    ]


def _told(calls: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(calls.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (entry := json.loads(line))["event"] == kind:
                yield entry


def _judge_turns(turns: Sequence[AnsweredTurn], line_s: float) -> bool:
    print("caller stops, until the agent is heard:")
    print("  turn   at the caller's ear   v2v_s   held back   the ear adds   beyond the line")
    adds = [turn.ear_s - turn.v2v_s - turn.held_s for turn in turns]
    for number, (turn, adds_s) in enumerate(zip(turns, adds, strict=True), start=1):
        print(
            f"  {number:4}   {turn.ear_s:17.3f} s   {turn.v2v_s:.3f}   {turn.held_s:7.3f} s"
            f"   {adds_s:10.3f} s   {adds_s - line_s:+13.3f} s"
        )
    beyond_s = statistics.median(adds) - line_s
    good = abs(beyond_s) <= AGREE_S
    print(f"  the ear adds {_spread(adds)}, the line itself {line_s:.3f} s:", end=" ")
    print(f"they {'agree' if good else 'do not agree'} within {AGREE_S:g} s ({beyond_s:+.3f} s)")
    return good


# -- rows


async def _play(name: str, open_rig: "OpenRig", given: Given) -> bool:
    from lab.drill.measured import MeasuredRun  # noqa: PLC0415 - found once the root is on the path
    from lab.drill.plans import play  # noqa: PLC0415 - as above

    run = MeasuredRun()
    async with open_rig(name) as rig:
        row = rig.row
        await play(rig, run)
    met = [_meets(row, target, run.measures[target.measure], given) for target in row.targets]
    return all(met)


def _meets(row: "Row", target: "Target", value: float, given: Given) -> bool:
    """Print a measure and its target; return whether it is met."""
    name, worst, why = f"  {row.name}: {target.measure} {value:.3f}", target.worst, ""
    if target.over and given.healthy_s is None:
        print(f"{name}, not compared: no healthy answers were measured")
        return True
    if target.over and given.healthy_s is not None:
        worst, why = worst + given.healthy_s, f" ({worst:g} and a healthy answer)"
    elif target.measure in LATE:
        worst, why = worst + given.line_s, f" ({worst:g} and the line)"
    good = value >= worst if target.least else value <= worst
    bound = f"{'at least' if target.least else 'at most'} {worst:.3f}{why}"
    print(f"{name}, {bound}: {'met' if good else 'MISSED'}")
    return good


def _spread(values: Sequence[float]) -> str:
    return (
        f"median {statistics.median(values):.3f} s"
        f" ({min(values):.3f} to {max(values):.3f}, {len(values)})"
    )


if __name__ == "__main__":
    sys.exit(main())
