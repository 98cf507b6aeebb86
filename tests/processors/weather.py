"""An hour of changing faults for two providers, drawn with a seed."""

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from bot.health.policies import PRIORS_S
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window

SPELL_S = (3.0, 40.0)  # how long a fault lasts
FAIR_S = (35.0, 70.0)  # how long everything works after a fault
REST_S = 20.0  # of a breaker, whatever opened it; shorter than `FAIR_S`
TALK_S = (2.0, 12.0)  # between two turns
LENGTHS = [
    pytest.param(600.0, id="ten minutes", marks=pytest.mark.slow),
    pytest.param(3600.0, id="an hour", marks=[pytest.mark.slow, pytest.mark.hours]),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A fault of one provider, in seconds from the lab's start."""

    name: str
    fault: Fault
    from_s: float
    until_s: float


def weather(
    names: Sequence[str],
    kinds: Mapping[str, Fault],
    *,
    length_s: float,
    seed: int,
    first: float = 0.75,
) -> list[Spell]:
    """Return the spells of a call: one provider fails at a time, each kind of fault in turn.

    Args:
        names: The providers, the preferred one first.
        kinds: Possible faults.
        length_s: The length of the call.
        seed: The seed of the random numbers.
        first: The share of the spells that the preferred one has.
    """
    dice, spells = random.Random(seed), []  # noqa: S311 - weather, not a secret
    at_s = dice.uniform(5.0, 20.0)
    while at_s < length_s:
        deck = list(kinds.values())
        dice.shuffle(deck)
        for fault in deck:
            lasts_s = dice.uniform(*SPELL_S)
            name = names[0] if dice.random() < first else dice.choice(names[1:])
            spells.append(Spell(name=name, fault=fault, from_s=at_s, until_s=at_s + lasts_s))
            at_s += lasts_s + dice.uniform(*FAIR_S)
    return [spell for spell in spells if spell.until_s < length_s]


def expose(lab: Lab, spells: Sequence[Spell]) -> None:
    """Schedule these faults of the lab's providers, at times relative to the lab's start."""
    for name, instance in lab.instances.items():
        windows = [
            Window(fault=spell.fault, from_s=spell.from_s, until_s=spell.until_s)
            for spell in spells
            if spell.name == name
        ]
        instance.set_faults(windows, since_lab_start=True)


def availability_of(stage: str, names: Sequence[str]) -> AvailabilityTable:
    """Return a fresh availability without probes: callers discover recovered rungs."""
    return AvailabilityTable(
        [Place(stage=stage, provider=name, credential=name) for name in names],
        now=time.monotonic(),
        settings=BreakerSettings(open_s=REST_S, slow_s=REST_S, probing=False),
        priors_s=PRIORS_S,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the call."""

    number: int
    at_s: float  # since the call began
    pause_s: float  # after it

    def story(self, told: Sequence[object]) -> str:
        """Return a description of a failed turn."""
        lines = "\n".join(str(item) for item in told[-20:])
        return f"turn {self.number}, {self.at_s:.1f} s after the start:\n{lines}"


def turns_until(length_s: float, *, dice: random.Random) -> Iterator[Turn]:
    """Yield turns for the length of the call; time passes while each is used."""
    began = time.monotonic()
    for number in itertools.count(1):
        at_s = time.monotonic() - began
        if at_s >= length_s:
            return
        yield Turn(number=number, at_s=at_s, pause_s=dice.uniform(*TALK_S))
