"""Measures ladders with other vendors, in whole calls: each row breaks the first rung in one way.

    .venv/bin/python -m benchmarks.vendors [--runs 5] [--only TEXT,...] [--json FILE]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import functools
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.own_lab import RUNGS, OwnModelSimulator, copy_services
from calls.sentences import FAIL_ALIKE
from lab.drill.asking import ask_and_judge
from lab.drill.evidence import JudgedTurn, judge_turn
from lab.drill.hearing import bare_words
from lab.drill.measured import MeasuredRun, first_word_s
from lab.drill.rig import Conversation, Rig, open_rig
from lab.drill.rows import HAIRCUT, HOURS, Break, Row, When
from lab.drill.runner import RUN_FAILURES
from lab.drill.servers import OURS
from lab.drill.sound import RATE_HZ
from lab.process import LabOptions
from lab.recording import write_recording
from lab.simulators.instance import Instance
from lab.simulators.lab import DEFAULT, Spec
from operations.telemetry import logs
from runtime import clock
from tests.providers.adapter.own_lab import OwnSimulator as OwnVoiceSimulator
from tests.providers.adapter.own_recogniser import OwnSimulator as OwnRecogniserSimulator

RUN_S: Final = 120.0
CROWD_RUN_S: Final = 300.0
SETTLE_S: Final = 2.0
PROBE: Final = "Answer with one word: yes."  # outside of calls
TURNS: Final = 2  # with the same question
CALLERS: Final = 8
APART_S: Final = 0.25
OWN: Final[Mapping[str, type[Instance]]] = {
    "stt": OwnRecogniserSimulator,
    "llm": OwnModelSimulator,
    "tts": OwnVoiceSimulator,
}
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tts": ("aura", "openai", "own"),
    "stt": ("soniox", "assemblyai", "own"),
    "llm": ("anthropic", "gemini", "own"),
}
FIRST: Final = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}
LATER_S: Final = {"stt": 0.6, "llm": 0.35, "tts": 0.35}  # the most that a failure may cost

UNFINISHED_S: Final = 1.5  # of a recogniser that cannot finish on request: its promise is 2.5 s

Window = tuple[Mapping[str, Any], When]


def at_word_4(fault: str, **more: Any) -> Window:
    """Return a fault inside an answer."""
    return {"fault": fault, "after_words": 4, **more}, When.BEFORE_TURN


def status(code: int) -> Window:
    """Return a refusal."""
    return {"fault": "http", "status": code}, When.BEFORE_TURN


REFUSED: Final[Window] = ({"fault": "refuse"}, When.BEFORE_TURN)
MID_SPEECH: Final[Window] = ({"fault": "cut", "after_words": 2, "how": "error"}, When.BEFORE_TURN)
SILENT: Final[Window] = ({"fault": "silent"}, When.BEFORE_TURN)
SECOND: Final[Mapping[str, Mapping[str, Window]]] = {
    "tts": {
        "dead": ({"fault": "reset"}, When.AT_STOP),
        "cut": at_word_4("cut"),
        "stall": at_word_4("stall"),
        "silent": SILENT,
    },
    "stt": {
        "dead": ({"fault": "refuse"}, When.SPOKEN),
        "mute": SILENT,
        "refused": MID_SPEECH,
    },
    "llm": {
        "refused": REFUSED,
        "503": status(503),
        "401": status(401),
        "cut": at_word_4("cut"),
        "stall": at_word_4("stall"),
    },
}
"""The faults of a first-class first rung, whose standby is the other vendor."""
MORE: Final[Mapping[str, Window]] = {
    "refused": REFUSED,
    "401": status(401),
    "429": status(429),
    "503": status(503),
    "closed": at_word_4("cut", how="close"),
    "silent": SILENT,
    "garbage": ({"fault": "garbage"}, When.BEFORE_TURN),
}
"""Further faults of the other vendor as the first rung."""
TWO_DEEPGRAMS: Final = "two-deepgrams-dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorRow:
    """One row: a ladder, and how its first rung fails."""

    row: Row
    stage: str
    options: LabOptions

    @property
    def name(self) -> str:
        return self.row.name


def build_rows() -> Iterator[VendorRow]:
    """Yield all rows."""
    for place, stage in itertools.product(("second", "first"), KINDS):
        faults = SECOND[stage] if place == "second" else MORE | SECOND[stage]
        if place == "first" and stage == "stt":
            faults = {name: fault for name, fault in faults.items() if name != "closed"}
        for kind, (name, (window, when)) in itertools.product(KINDS[stage], faults.items()):
            vendor = f"{kind}-{stage}"
            broken = FIRST[stage] if place == "second" else vendor
            fault = Break(provider=broken, window=window, when=when, after_s=0.7)
            row = Row(name=f"{place}-{vendor}-{name}", title=name, breaks=(fault,), uncapped=True)
            options = ladders(stage, vendor, kind, place=place)
            yield VendorRow(row=row, stage=stage, options=options)
    window = {"fault": "refuse"}
    breaks = tuple(Break(provider=item, window=window) for item in ("deepgram", "deepgram-b"))
    row = Row(name=TWO_DEEPGRAMS, title="", breaks=breaks, uncapped=True)
    soniox = Spec(name="soniox-stt", kind="soniox")
    options = LabOptions(instances=(*DEFAULT, soniox))
    yield VendorRow(row=row, stage="stt", options=options)


def ladders(stage: str, name: str, kind: str, *, place: str) -> LabOptions:
    """Return a lab whose ladder of one stage has another vendor in the first or second place."""
    own = kind == "own"
    simulator = OWN[stage] if own else None
    spec = Spec(name=name, kind=simulator.kind if simulator else kind, simulator=simulator)
    standby = {"stt": "deepgram-b", "llm": "openai-b", "tts": "elevenlabs"}[stage]
    left_out = standby if place == "second" else FIRST[stage]
    rest = tuple(item for item in DEFAULT if item.name != left_out)
    rung = {"stage": stage, **({"kind": "pipecat", **RUNGS[stage]} if own else {})}
    specs = (*rest, spec) if place == "second" else (spec, *rest)
    return LabOptions(instances=specs, rungs={name: rung})


async def play(rig: Rig, run: MeasuredRun) -> Mapping[str, Any]:
    """Ask once while all is well, and once while the row's rung fails; return the measures."""
    async with rig.greeted_call() as call:
        healthy = await ask_and_judge(rig, call, run, HAIRCUT)
        broken = await ask_while_broken(rig, call, run)
        wrong = await misheard(rig, call, broken)
    return describe(healthy, broken) | {"misheard": wrong}


async def misheard(rig: Rig, call: Conversation, broken: JudgedTurn) -> float:
    """Return 0 if each model that was asked got the caller's words of both turns, else 1.

    A model that continues another's answer also gets a request in the caller's role.
    """
    since_s, wanted = call.lab_s(broken.turn.began_s), bare_words(HAIRCUT)
    asked = [
        [bare_words(said) for said in request["details"]["caller"]].count(wanted)
        for name in rig.control.names
        for request in await rig.control.requests(name)
        if request["at_s"] >= since_s and request["details"].get("caller", [PROBE]) != [PROBE]
    ]
    return float(not asked or any(count != TURNS for count in asked))


async def ask_while_broken(rig: Rig, call: Conversation, run: MeasuredRun) -> JudgedTurn:
    """Break the rung, ask, and judge the answer."""
    await rig.break_now(When.BEFORE_TURN)
    turn = await call.ask(HAIRCUT, at=rig.timed())
    return run.add(await judge_turn(call, rig.control, turn))


def describe(healthy: JudgedTurn, broken: JudgedTurn) -> dict[str, Any]:
    """Return what a caller heard of an answer, and of the healthy one."""
    verdict = broken.verdict
    wanted = len(bare_words(broken.turn.answer))
    return {
        "healthy_whole": healthy.verdict.whole,
        "healthy_s": round(first_word_s(healthy), 3),
        "words": wanted - len(verdict.missing),
        "of": wanted,
        "missing": list(verdict.missing),
        "extra": list(verdict.extra),
        "first_s": round(first_word_s(broken), 3),
        "later_s": round(first_word_s(broken) - first_word_s(healthy), 3),
        "speech_s": verdict.first_speech_s,
        "gap_s": round(verdict.gap_s, 2),
        "voices": list(verdict.voices),
        "requests": [[item.provider, item.outcome, item.fault] for item in broken.requests],
    }


async def play_crowd(rig: Rig, run: MeasuredRun) -> Mapping[str, Any]:
    """Let eight callers ask twice: while all is well, and with both Deepgram rungs dead."""
    greeted, healthy = asyncio.Barrier(CALLERS), asyncio.Barrier(CALLERS)
    texts = (HAIRCUT, HOURS)

    async def hold(number: int) -> dict[str, Any]:
        async with rig.greeted_call() as call:
            await greeted.wait()
            await call.ear.wait(number * APART_S)
            before = await call.ask(texts[number % 2])
            await healthy.wait()
            if not number:
                await rig.break_now(When.BEFORE_TURN)
            await call.ear.wait(0.5 + number * APART_S)
            after = await call.ask(texts[number % 2])
        # Judged after the call: an agent hangs up on callers who wait silently for that.
        judged = [await judge_turn(call, rig.control, turn) for turn in (before, after)]
        return describe(*map(run.add, judged))

    found = await asyncio.gather(*(hold(number) for number in range(CALLERS)))
    worst = max(found, key=lambda item: item["later_s"])
    missing = [item for item in found if item["missing"] or item["extra"]]
    alerts = await asyncio.to_thread(read_alerts, rig.calls.parent)
    return (missing[0] if missing else worst) | {
        "healthy_whole": all(item["healthy_whole"] for item in found),
        "later_s": worst["later_s"],
        "misheard": 0.0,
        "callers": list(found),
        "alerts": alerts,
    }


def read_alerts(folder: Path) -> list[Any]:
    """Return the alerts that a server has written about speech recognition."""
    found = folder / "alerts.json"
    if not found.is_file():
        return []
    rows = json.loads(found.read_text(encoding="utf-8"))
    return [row for row in rows if row["service_name"] == "STT"]


def is_met(item: VendorRow, found: Mapping[str, Any]) -> bool:
    """Return whether a run met the row's target."""
    whole = found["healthy_whole"] and not (found["missing"] or found["extra"] or found["misheard"])
    alerts = [row["error_message"] for row in found.get("alerts", ())]
    once = item.name != TWO_DEEPGRAMS or (len(alerts) == 1 and alerts[0].endswith(FAIL_ALIKE))
    unfinished = item.stage == "stt" and "own" in item.name
    later_s = UNFINISHED_S if unfinished else LATER_S[item.stage]
    return bool(whole and once and found["later_s"] <= later_s)


async def run_once(item: VendorRow, number: int, *, folder: Path) -> dict[str, Any]:
    """Play a row with its own lab and server."""
    await asyncio.to_thread(copy_services, folder)
    run = MeasuredRun()
    play_row = play_crowd if item.name == TWO_DEEPGRAMS else play
    found: dict[str, Any] = {"row": item.name, "run": number}
    try:
        async with (
            asyncio.timeout(CROWD_RUN_S if item.name == TWO_DEEPGRAMS else RUN_S),
            open_rig(item.row, OURS, run=number, folder=folder, lab_options=item.options) as rig,
        ):
            await asyncio.sleep(SETTLE_S)
            found |= await play_row(rig, run)
    except (*RUN_FAILURES, ExceptionGroup) as broken:
        return found | {"met": False, "error": f"{type(broken).__name__}: {broken}"}
    for at, turn in enumerate(run.turns, start=1):
        sound = folder / f"turn-{at}.wav"
        await asyncio.to_thread(write_recording, sound, turn.recording, rate_hz=RATE_HZ)
    return found | {"met": is_met(item, found)}


def line_of(found: Mapping[str, Any]) -> str:
    """Return a run as a line of the table."""
    head = f"{'met   ' if found['met'] else 'MISSED'} {found['row']:34} run {found['run']}"
    if "error" in found:
        return f"{head}  {found['error']}"
    words = f"{found['words']} of {found['of']} words"
    extra = f", twice or wrong: {' '.join(found['extra'])}" if found["extra"] else ""
    lost = f", lost: {' '.join(found['missing'])}" if found["missing"] else ""
    heard = ", the caller was misheard" if found["misheard"] else ""
    if not found["healthy_whole"]:
        heard += ", the healthy answer was not whole"
    times = f"first word {found['first_s']:.2f} s ({found['later_s']:+.2f}), gap {found['gap_s']} s"
    alerts = f", {len(found['alerts'])} alerts" if "alerts" in found else ""
    return f"{head}  {words}, {times}, {'+'.join(found['voices'])}{extra}{lost}{heard}{alerts}"


async def measure(options: argparse.Namespace) -> int:
    """Run and print; return 0 if each run met its target."""
    console = Console(soft_wrap=True, highlight=False)
    wanted = options.only.split(",") if options.only else [""]
    rows = [item for item in build_rows() if any(text in item.name for text in wanted)]
    began, found = clock.monotonic(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        jobs = [(number, item) for number in range(1, options.runs + 1) for item in rows]
        for first in range(0, len(jobs), options.jobs):
            calls = [
                run_once(item, number, folder=folder / f"{item.name}-{number}")
                for number, item in jobs[first : first + options.jobs]
            ]
            for result in await asyncio.gather(*calls):
                found.append(result)
                console.print(line_of(result))
                if options.json:
                    text = json.dumps(found, indent=1) + "\n"
                    await asyncio.to_thread(functools.partial(options.json.write_text, text))
    print_sum(console, rows, found)
    console.print(f"{clock.monotonic() - began:.0f} s in all")
    return 0 if all(item["met"] for item in found) else 1


def print_sum(console: Console, rows: Sequence[VendorRow], found: Sequence[Any]) -> None:
    """Print how many runs of each row met its target."""
    for item in rows:
        runs = [one for one in found if one["row"] == item.name]
        later = sorted(one["later_s"] for one in runs if "later_s" in one)
        worst = f"worst {later[-1]:+.2f} s" if later else "no figures"
        console.print(f"{item.name:34} {sum(one['met'] for one in runs)} of {len(runs)}, {worst}")


def main() -> int:
    """Measure and print; return 0, or 1 if a run missed its target."""
    parser = argparse.ArgumentParser(description="Ladders with other vendors, in whole calls.")
    parser.add_argument("--runs", type=int, default=5, help="of each row, default 5")
    parser.add_argument("--only", default="", help="parts of the names of rows, by comma")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; times need 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run")
    parser.add_argument("--folder", type=Path, help="keep the servers' files here")
    options = parser.parse_args()
    logs.set_up(level="WARNING", folder=None)
    return asyncio.run(measure(options))


if __name__ == "__main__":
    sys.exit(main())
