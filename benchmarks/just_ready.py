"""Counts refused callers when several ring at once on a server that is just ready or reloaded.

    .venv/bin/python -m benchmarks.just_ready [--callers 8] [--runs 10]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from lab.drill.servers import AUTH_TOKEN, GREETING, OURS, open_agent
from lab.process import LabOptions, lab_process
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import NotConnectedError
from operations.telemetry import logs

WITHIN_S: Final = 0.2  # all callers ring within this time
STAY_S: Final = 4.0  # how long an accepted caller stays: until all have rung
RELOADED_S: Final = 120.0
READY: Final = "is ready, as process"  # of a worker, in the server's log


def main() -> int:
    """Measure and print; return 0, or 1 if a caller was refused."""
    options = _options()
    logs.set_up(level="WARNING", folder=None)
    return asyncio.run(_measure(options.callers, options.runs))


async def _measure(callers: int, runs: int) -> int:
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, runs + 1):
            for when, answers in (await _run(callers, Path(folder) / str(number))).items():
                refused += len(answers)
                details = f": {', '.join(sorted(set(answers)))}" if answers else ""
                print(
                    f"run {number}, {when}: {len(answers)} of {callers} refused{details}",
                    flush=True,
                )
    print(f"{callers} callers within {WITHIN_S:g} s, {runs} runs: {refused} refused")
    return 1 if refused else 0


async def _run(callers: int, folder: Path) -> dict[str, list[str]]:
    """Return the answers that refused callers got, by the moment at which they rang."""
    options = LabOptions(steady=True, delays="quick", ready=(GREETING,))
    async with lab_process(options=options) as lab, open_agent(lab, OURS, folder=folder) as agent:
        ready = await _call_all(callers, agent.url)
        await _reload(agent.url, folder)
        return {"just ready": ready, "just reloaded": await _call_all(callers, agent.url)}


async def _call_all(callers: int, url: str) -> list[str]:
    """Call from all callers; return what the refused ones were told."""
    apart_s = WITHIN_S / max(1, callers - 1)
    answers = await asyncio.gather(*(_call(url, number * apart_s) for number in range(callers)))
    return [said for said in answers if said]


async def _call(url: str, rings_after_s: float) -> str:
    await asyncio.sleep(rings_after_s)
    try:
        async with Carrier(url, AUTH_TOKEN):
            await asyncio.sleep(STAY_S)
    except NotConnectedError as refused:
        return refused.said or f"status {refused.status}"
    return ""


async def _reload(url: str, folder: Path) -> None:
    """Change the configuration, reload it, and return when the new workers are ready."""
    config, log = folder / "holdline.yaml", folder / "logs" / "holdline.log"
    tree: dict[str, Any] = yaml.safe_load(config.read_text())
    tree["agent"]["farewell"] = "Goodbye."
    config.write_text(yaml.safe_dump(tree))
    expected = 2 * log.read_text().count(READY)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/reload", json={"by": "benchmark"}) as answer,
    ):
        answer.raise_for_status()
    async with asyncio.timeout(RELOADED_S):
        while log.read_text().count(READY) < expected:  # noqa: ASYNC110 - it is only in the log
            await asyncio.sleep(0.02)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Callers together on a server that is just ready.")
    parser.add_argument("--callers", type=int, default=8, help="default 8")
    parser.add_argument("--runs", type=int, default=10, help="in a row, default 10")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
