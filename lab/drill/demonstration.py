"""`holdline drill --scenario`: prints the events as they happen, and what they prove."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from bot.config.errors import nearest
from bot.exits import DONE, FAILED, UsageError
from lab.drill.bench import Say
from lab.drill.scenarios import SCENARIOS, Proofs, Scenario, perform
from lab.drill.telling import tell_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A scenario to show.

    Attributes:
        title: What it shows.
        play: Runs it, reports each event, and returns the proofs.
    """

    title: str
    play: Callable[[Say], Awaitable[Proofs]]


async def _play_outage(say: Say) -> Proofs:
    from lab.drill.outage_scenario import play_outage  # noqa: PLC0415 - loads a server; the help does not

    return await play_outage(say)


DEMONSTRATIONS: Final[Mapping[str, Demonstration]] = {
    name: Demonstration(title=scenario.title, play=functools.partial(perform, scenario))
    for name, scenario in SCENARIOS.items()
} | {
    "elevenlabs-503": Demonstration(
        title="a campaign meets a voice that is down, with a standby and without", play=_play_outage
    )
}


def scenario_named(name: str) -> Demonstration:
    """Return a scenario.

    Raises:
        UsageError: There is no such scenario; one line with the nearest name.
    """
    if name in DEMONSTRATIONS:
        return DEMONSTRATIONS[name]
    close = nearest(name, DEMONSTRATIONS)
    guess = f'did you mean "{close}"? ' if close else ""
    raise UsageError(f'--scenario is "{name}"; {guess}({", ".join(DEMONSTRATIONS)})')


async def demonstrate(
    name: str, scenario: Scenario | Demonstration, *, out: Path | None = None
) -> int:
    """Run a scenario, print it, and write the output to the folder `out`, if given.

    Returns:
        0, or 1 if a proof failed.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True, record=True)
    try:
        return await _show(name, scenario, console)
    finally:
        if out:
            written = functools.partial(console.save_text, str(out / f"{name}.txt"))
            await asyncio.to_thread(written)


async def _show(name: str, scenario: Scenario | Demonstration, console: Console) -> int:
    console.print(f"{name}: {scenario.title}")
    say = functools.partial(tell_on, console)
    if isinstance(scenario, Demonstration):
        proofs = await scenario.play(say)
    else:
        proofs = await perform(scenario, say)
    for proof in proofs:
        console.print(f"{'proved' if proof.holds else 'NOT PROVED'}: {proof.text}")
    return DONE if all(proof.holds for proof in proofs) else FAILED
