"""Measures how much later than our own figure a caller in a browser hears the answer, and why.

    .venv/bin/python -m benchmarks.browser_ear [--turns 12]
    .venv/bin/python -m benchmarks.browser_ear --cut 5

A real Chromium calls a real server against the lab. The page itself records when the question ended
and when the answer's first audible sample came. These are compared with `v2v_s` as the server
measured it, and with the delay that the page's receiver reports. `--cut N` breaks the path N
times while the agent speaks, and prints how long nothing was heard.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

from lab.process import lab_process
from tests.bot.serving import free_port
from tests.e2e.severable_serve import Severable, severable
from tests.e2e.talking import answered, spoken, talking

EAR: Final = (Path(__file__).parent / "page_ear.js").read_text(encoding="utf-8")
MARGIN_S: Final = 0.1  # of room noise after the last word of what is said
QUESTIONS: Final = (("01_hours", 0), ("08_barge_in", 1))
WITHIN_S: Final = 5.0  # a caller whose network path broke hears the agent again
APART_S: Final = 0.060  # what may stay unexplained between the ear and our own figure
COLUMNS: Final = ("v2v_s", "at the ear", "apart", "buffer", "network", "rest", "loudspeaker")
SETTLE_S: Final = 2.5  # for the page's report on an answer, which is heard for one second first


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer as three sides measured it, in seconds."""

    v2v_s: float
    ear_s: float
    buffer_s: float
    playout_s: float
    network_s: float

    @property
    def apart_s(self) -> float:
        """How much later the page heard the answer than our own figure says."""
        return self.ear_s - self.v2v_s

    @property
    def unexplained_s(self) -> float:
        """The part of that which neither the receiver's buffer nor the network explains.

        The loudspeaker is not in it: the page's ear hears before it.
        """
        return self.apart_s - self.buffer_s - self.network_s


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=12, help="answers to measure")
    parser.add_argument(
        "--cut", type=int, default=0, metavar="N", help="cut the way N times instead"
    )
    asked = parser.parse_args()
    if asked.cut:
        return _print_cuts(asyncio.run(_cuts(asked.cut)))
    return _print_turns(asyncio.run(_turns(asked.turns)))


async def _call(stack: AsyncExitStack) -> tuple[Page, Severable]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    lab = await stack.enter_async_context(lab_process())
    quiet = {"agent": {"silence": {"prompt_after_s": 3600}}}
    server = await stack.enter_async_context(
        severable(lab, folder, free_port(), changes=quiet, environment={})
    )
    page = await stack.enter_async_context(talking(scripts=(EAR,)))
    await page.goto(server.url + "/client/")
    await page.get_by_role("button", name="Call", exact=True).click()
    await answered(page, 1)
    return page, server


async def _turns(wanted: int) -> list[Turn]:
    found: list[Turn] = []
    async with AsyncExitStack() as stack:
        page, _ = await _call(stack)
        for number in range(wanted):
            words = spoken(*QUESTIONS[number % len(QUESTIONS)])
            began_ms: float = await page.evaluate("window.say", words)
            length_s = await page.evaluate(LENGTH, words)
            stopped_ms = began_ms + (length_s - MARGIN_S) * 1000
            await answered(page, number + 2)
            await asyncio.sleep(SETTLE_S)
            found += await _measured(page, stopped_ms)
    return found


LENGTH: Final = """async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const context = new OfflineAudioContext(1, 1, 48000);
    return (await context.decodeAudioData(bytes.buffer)).duration;
}"""


async def _measured(page: Page, stopped_ms: float) -> list[Turn]:
    """Return the last answer if all three have measured it."""
    onsets: list[float] = await page.evaluate("window.onsets")
    told: list[dict[str, Any]] = await page.evaluate("window.told")
    heard = next((onset for onset in onsets if onset > stopped_ms), None)
    answer = _last(told, "AnswerHeard")
    ear = _last(told, "EarMeasured")
    if heard is None or answer is None or ear is None or ear["turn"] != answer["turn"]:
        return []
    return [
        Turn(
            v2v_s=answer["v2v_s"],
            ear_s=(heard - stopped_ms) / 1000,
            buffer_s=ear["buffer_s"],
            playout_s=ear["playout_s"],
            network_s=ear["network_s"],
        )
    ]


def _last(told: Sequence[dict[str, Any]], event: str) -> dict[str, Any] | None:
    return next((row for row in reversed(told) if row.get("event") == event), None)


def _print_turns(turns: Sequence[Turn]) -> int:
    if not turns:
        print("no answer was measured by all three")
        return 1
    print("".join(f"{name:>12}" for name in COLUMNS))
    for turn in turns:
        row = (turn.v2v_s, turn.ear_s, turn.apart_s, turn.buffer_s, turn.network_s)
        print("".join(f"{value:12.3f}" for value in (*row, turn.unexplained_s, turn.playout_s)))
    rest_s = statistics.median(turn.unexplained_s for turn in turns)
    apart_s = statistics.median(turn.apart_s for turn in turns)
    print(f"median: {apart_s:.3f} s apart; {rest_s:.3f} s of it is neither buffer nor network")
    return 0 if abs(rest_s) <= APART_S else 1


async def _cuts(wanted: int) -> list[float]:
    gaps_s: list[float] = []
    async with AsyncExitStack() as stack:
        page, server = await _call(stack)
        for number in range(wanted):
            await page.evaluate("window.say", spoken(*QUESTIONS[number % len(QUESTIONS)]))
            await page.wait_for_function(
                "() => performance.now() - audibleAt < 100", timeout=20_000
            )
            await asyncio.sleep(0.5)
            server.sever()
            cut_ms: float = await page.evaluate("performance.now()")
            heard = "(cut) => onsets.at(-1) > cut + 200"
            await page.wait_for_function(heard, arg=cut_ms, timeout=30_000)
            again_ms: float = await page.evaluate("window.onsets.at(-1)")
            gaps_s.append((again_ms - cut_ms) / 1000)
            await answered(page, number + 2)
    return gaps_s


def _print_cuts(gaps_s: Sequence[float]) -> int:
    for number in gaps_s:
        print(f"the agent was heard again {number:.2f} s after the way had died")
    print(f"longest {max(gaps_s):.2f} s, target {WITHIN_S:.1f} s")
    return 0 if max(gaps_s) <= WITHIN_S else 1


if __name__ == "__main__":
    sys.exit(main())
