"""`holdline drill --scenario`: prints the events as they happen, and what that proved."""

import functools

from rich.console import Console

from bot.config.errors import nearest
from bot.exits import DONE, FAILED, UsageError
from drill.scenarios import SCENARIOS, Scenario, perform
from drill.telling import tell_on


def scenario_named(name: str) -> Scenario:
    """Return a scenario.

    Raises:
        UsageError: There is none of this name; one line with the nearest.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    close = nearest(name, SCENARIOS)
    guess = f'did you mean "{close}"? ' if close else ""
    raise UsageError(f'--scenario is "{name}"; {guess}({", ".join(SCENARIOS)})')


async def demonstrate(name: str, scenario: Scenario) -> int:
    """Play a scenario and print it.

    Returns:
        0; 1 when it did not prove what it set out to.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{name}: {scenario.title}")
    proofs = await perform(scenario, functools.partial(tell_on, console))
    for each in proofs:
        console.print(f"{'proved' if each.holds else 'NOT PROVED'}: {each.text}")
    return DONE if all(each.holds for each in proofs) else FAILED
