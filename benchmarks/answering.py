"""Measures how reliably and how soon people, mailboxes, menus and assistants are distinguished.

    .venv/bin/python -m benchmarks.answering [--words spoken|misheard|sphinx|none]
        [--greetings known|held-out|both] [--each]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.answerer_trial import (
    Recognise,
    Trial,
    no_words,
    try_greeting,
    words_as_spoken,
    words_misheard,
    words_of_sphinx,
)
from benchmarks.greetings import RenderedGreeting, read_greetings, render
from bot.call.models import VoiceModels
from configuration.settings import TurnSettings
from engines.espeak import Espeak
from operations.telemetry import logs

FOUND: Final = 0.95  # of the machines
DECIDED_S: Final = 3.0  # p95
WORDS: Final = ("spoken", "misheard", "sphinx", "none")


def main() -> int:
    """Measure and print; return 1 if a target was missed."""
    options = _parse_options()
    logs.set_up(level="ERROR", folder=None)
    sets = ("known", "held-out") if options.greetings == "both" else (options.greetings,)
    met = [_measure_set(name, options) for name in sets]
    return 0 if all(met) else 1


def _measure_set(name: str, options: argparse.Namespace) -> bool:
    """Measure and print one set; return whether its targets are met."""
    trials = asyncio.run(_try_greetings(name, options.words, options.seeds))
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{name} greetings, words {options.words}")
    if options.each:
        console.print(_trial_table(trials))
    met = True
    for what, value, target, reached in _judged_figures(trials):
        console.print(f"  {what}: {value}; target {target}: {'met' if reached else 'NOT met'}")
        met = met and reached
    for what, value in _further_figures(trials):
        console.print(f"  {what}: {value}")
    return met


async def _try_greetings(name: str, words: str, seeds: int) -> list[Trial]:
    """Return the trials of all greetings; misheard words are tried with several seeds."""
    models, engine = VoiceModels.load(), Espeak(private=True, seed=1)
    found: list[Trial] = []
    for greeting in read_greetings(name):
        rendered = render(greeting, engine)
        for seed in range(seeds if words == "misheard" else 1):
            speech = models.vad(TurnSettings())
            recognise = _recogniser_for(words, seed)(rendered)
            found.append(await try_greeting(rendered, speech, recognise))
    return found


def _recogniser_for(words: str, seed: int) -> Callable[[RenderedGreeting], Recognise]:
    kinds: dict[str, Callable[[RenderedGreeting], Recognise]] = {
        "spoken": words_as_spoken,
        "misheard": lambda rendered: words_misheard(rendered, seed),
        "sphinx": lambda _: words_of_sphinx(),
        "none": lambda _: no_words(),
    }
    return kinds[words]


def _judged_figures(trials: Sequence[Trial]) -> list[tuple[str, str, str, bool]]:
    """Return what is judged: its name, value and target, and whether the target is met."""
    people, machines = _people_and_machines(trials)
    hung_up_on = [person for person in people if person.treated_as_machine]
    found = [machine for machine in machines if machine.right_s is not None]
    share = len(found) / len(machines)
    first = _p95([trial.first_s for trial in trials])
    right = _p95([_right_s(person) for person in [*people, *_recognisable_in_time(machines)]])
    return [
        ("people hung up on", f"{len(hung_up_on)} of {len(people)}", "0", not hung_up_on),
        (
            "machines found",
            f"{len(found)} of {len(machines)}",
            f"{FOUND:.0%}",
            share >= FOUND,
        ),
        ("first word, p95 from the answer", f"{first:.2f} s", f"{DECIDED_S} s", first <= DECIDED_S),
        (
            "right word, p95, of people and of machines that could be recognised by then",
            f"{right:.2f} s",
            f"{DECIDED_S} s",
            right <= DECIDED_S,
        ),
    ]


def _further_figures(trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """Return the names and values of figures that are not judged."""
    people, machines = _people_and_machines(trials)
    right = [machine.right_s for machine in machines if machine.right_s is not None]
    greeted = [person.opened_s for person in people if person.opened_s is not None]
    talked_to = sum(1 for machine in machines if machine.opened_s is not None)
    delays_s = [
        machine.right_s - machine.recognisable_s
        for machine in machines
        if machine.right_s is not None and math.isfinite(machine.recognisable_s)
    ]
    early = f"{len(_recognisable_in_time(machines))} of {len(machines)}"
    return [
        ("machines that could be recognised by then", early),
        ("right word on all, p95", f"{_p95([_right_s(trial) for trial in trials]):.2f} s"),
        ("right word on machines, p50 and p95", f"{_p50(right):.2f} s, {_p95(right):.2f} s"),
        (
            "behind the telling words, p50 and p95",
            f"{_p50(delays_s):.2f} s, {_p95(delays_s):.2f} s",
        ),
        ("people are spoken to, p50 and p95", f"{_p50(greeted):.2f} s, {_p95(greeted):.2f} s"),
        ("machines that were spoken to at first", f"{talked_to} of {len(machines)}"),
    ]


def _right_s(trial: Trial) -> float:
    return math.inf if trial.right_s is None else trial.right_s


def _recognisable_in_time(machines: Sequence[Trial]) -> list[Trial]:
    """Return the machines that could be recognised within `DECIDED_S`."""
    return [machine for machine in machines if machine.recognisable_s <= DECIDED_S]


def _people_and_machines(trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    people = [trial for trial in trials if trial.who.value == "human"]
    return people, [trial for trial in trials if trial.who.value != "human"]


def _trial_table(trials: Sequence[Trial]) -> Table:
    table = Table("greeting", "is", "recognisable", "decided", "done")
    for trial in trials:
        decisions = ", ".join(f"{v.answerer} {v.why} {v.after_s:.2f}" for v in trial.verdicts)
        done = ", ".join(
            f"{type(a).__name__} {at:.2f}" for at, a in trial.done if type(a).__name__ != "Decide"
        )
        telling = f"{trial.recognisable_s:.2f}"
        table.add_row(trial.rendered.greeting.name, trial.who.value, telling, decisions, done)
    return table


def _p50(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else math.nan


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, math.ceil(0.95 * len(values)) - 1)] if values else math.nan


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure who is taken for a machine.")
    parser.add_argument("--words", choices=WORDS, default="spoken")
    parser.add_argument("--greetings", choices=("known", "held-out", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=5, help="of misheard words, for each greeting")
    parser.add_argument("--each", action="store_true", help="print a line for each greeting")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
