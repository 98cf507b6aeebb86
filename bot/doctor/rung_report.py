"""Prints what `holdline providers check` measures, and what a rung promises by that."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.text import Text

from bot.doctor.promises import PROMISE, weaknesses_of
from bot.doctor.rung_check import LIMIT_S, check_rung
from bot.doctor.trial import CheckLine
from configuration.errors import nearest
from configuration.loading import Loaded
from configuration.rungs import rung_of
from configuration.stages import ConnectedSettings, ModelSettings
from configuration.stated_facts import check_writable, write_facts, written
from operations.masking import without_keys
from providers.catalog import ADAPTED, known_services, provider
from providers.provider import RungSpec, Stage
from runtime.exits import FAILED, UsageError

RATE_HZ: Final = 8000  # of a telephone line
END_S: Final = 2.0  # for threads and tasks of the service; then the process ends without them
SPARE_S: Final = 3.0  # for the end of the last step, and for writing

RungSettings = ModelSettings | ConnectedSettings


def measure_rung(loaded: Loaded, name: str, *, write: bool) -> bool:
    """Measure one rung, print the results, and return whether it is as promised.

    The process ends if that takes longer than `LIMIT_S`. `write` writes those facts that differ.

    Raises:
        UsageError: There is no such rung, its key is not set, or its facts cannot be written.
    """
    stage, settings = _find_rung(loaded, name)
    rung = rung_of(settings, stage, agent=loaded.settings.agent, sample_rate_hz=RATE_HZ)
    vendor = provider(stage, rung.kind, rung.service)
    variable = settings.api_key_env or vendor.key_env
    if variable and not rung.api_key:
        raise UsageError(f"{variable} is not set, which holds the key of {name}")
    if write and rung.kind != ADAPTED:
        raise UsageError(f"--write is for a rung of kind: {ADAPTED}; {name} is {rung.kind}")
    if write:
        check_writable(loaded, stage, name)
    report = Report(settings, rung)

    async def measure() -> None:
        await check_rung(rung, report.tell, limit_s=LIMIT_S - SPARE_S)
        report.conclude()
        if write and report.measured:
            place = write_facts(loaded, stage, name, settings.facts | report.measured)
            report.say("written ", "green", f"{place}: facts of {name}")
        over.enter_context(ending(END_S, 0 if report.ok else FAILED))

    blocked = f"{name} blocks the process, which is ended\n"
    with ending(LIMIT_S, FAILED, blocked), ExitStack() as over:
        asyncio.run(measure())
    return report.ok


def _find_rung(loaded: Loaded, name: str) -> tuple[Stage, RungSettings]:
    """Return the stage and settings of a rung; raise `UsageError` if none has this name."""
    names = list[str]()
    for stage, rung in loaded.settings.stages.rungs():
        if rung.name == name:
            return stage, rung
        names.append(rung.name)
    close = nearest(name, names)
    guess = f'did you mean "{close}"? ' if close else ""
    raise UsageError(f'there is no provider "{name}"; {guess}({", ".join(names)})')


@contextmanager
def ending(seconds: float, code: int, text: str = "") -> Iterator[None]:
    """If the block takes longer, print `text` and end the process, whatever blocks its threads."""

    def end() -> None:
        sys.stderr.write(text)
        sys.stdout.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Report:
    """The lines about one rung.

    Attributes:
        ok: Whether everything is as promised so far.
        measured: The measured facts that are to replace those in use.
    """

    def __init__(self, settings: RungSettings, rung: RungSpec) -> None:
        self.ok = True
        self.measured = dict[str, bool]()
        self._rung = rung
        is_known = rung.kind != ADAPTED or rung.service in known_services(rung.stage)
        self._default = "Holdline's table" if is_known else "the careful value"
        self._stated = settings.facts
        self._console = Console(soft_wrap=True, highlight=False)

    def tell(self, found: CheckLine) -> None:
        """Print one line; add a measured fact to `measured` if it is to replace the one in use."""
        text, ok, value = found.text, found.ok, found.value
        if value is not None:
            in_use = getattr(self._rung.facts, found.fact)
            source = "the configuration" if found.fact in self._stated else self._default
            agrees = value == in_use
            says = f"as {source} says" if agrees else f"but not as {source} says"
            text, ok = f"{'yes' if value else 'no'}, {says} ({text})", value or not in_use
            # The table was read in sources: what did not happen now may happen another time.
            if not agrees and not (value and source == "Holdline's table"):
                self.measured[found.fact] = value
        self.ok = self.ok and ok
        mark = ("ok      ", "green") if ok else ("problem ", "bold red")
        self.say(*mark, f"{found.about}: {text}")

    def conclude(self) -> None:
        """Print what the rung promises, and what its owner can do."""
        facts = replace(self._rung.facts, **self.measured)
        weak = list(weaknesses_of(replace(self._rung, facts=facts)))
        later = "" if self.ok else ", once the problems above are solved"
        for text in [f"less than {PROMISE}: {item.text}" for item in weak] or [PROMISE + later]:
            self.say("promise ", "yellow" if weak or later else "green", text)
        cures = [item.cure for item in weak]
        if self.measured and self._rung.kind == ADAPTED:
            cures.append(f"state facts: {written(self.measured)} in the rung, or use --write")
        elif not all(self.measured.values()):
            cures.append("the server is not as the vendor's own: use kind: pipecat with its facts")
        for cure in dict.fromkeys(cures):
            self.say("to do   ", "cyan", cure)

    def say(self, mark: str, style: str, text: str) -> None:
        """Print a line without keys."""
        self._console.print(Text.assemble((mark, style), without_keys(text)))
