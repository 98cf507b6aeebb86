"""`holdline mic`: one call on this machine's microphone and loudspeaker."""

import asyncio
import math
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from calls.entry import Entry
from calls.events import AgentSaid, BudgetMissed, CallStarted, TranscriptFinal
from calls.sentences import ENDS, phrase
from calls.state import CallState
from configuration.settings import LocalSettings, Settings
from operations.telemetry import logs
from runtime.exits import CommandError, UsageError
from transports.local.echo_guard_rules import EchoGuard
from transports.local.sound_card import (
    LATENCY_S,
    NAMES,
    ChosenDevices,
    NoAudioError,
    SoundCard,
    SoundDevice,
    check_devices,
    list_devices,
)

if TYPE_CHECKING:
    from bot.call.call import Call
    from transports.local.leg import LocalLeg


def print_devices() -> None:
    """Print every device with its number.

    Raises:
        UsageError: The devices cannot be listed; the message says what to install.
    """
    try:
        devices = list_devices()
    except NoAudioError as missing:
        raise UsageError(str(missing)) from missing
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not devices:
        console.print("this machine has no sound device")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("number", "name", "microphone", "loudspeaker", "default"):
        table.add_column(name)
    for device in devices:
        table.add_row(*_row_of_device(device))
    console.print(table)


def _row_of_device(device: SoundDevice) -> tuple[str, ...]:
    able = ("yes" if count else "" for count in (device.inputs, device.outputs))
    defaults = ", ".join(NAMES[side] for side in device.default_for)
    return str(device.number), device.name, *able, defaults


WORDS_SHOWN: Final = 60  # characters of the latest utterance
BAR: Final = 10  # characters of the level bar
QUIETEST_DB: Final = -60.0  # dBFS; the bar is empty at or below it
CLIPPING_PEAK: Final = 0.99  # of full scale; the bar is red above it


def level_bar(peak: float, *, resting: bool) -> Text:
    """Return a microphone's level as a bar of fixed width.

    Args:
        peak: The loudest sample, 0 to 1.
        resting: Whether the microphone is off now.
    """
    level_db = 20 * math.log10(peak) if peak > 0 else QUIETEST_DB
    share = min(1.0, max(0.0, 1 - level_db / QUIETEST_DB))
    filled = round(share * BAR)
    style = "dim" if resting else "red" if peak > CLIPPING_PEAK else "green"
    return Text(f"mic {'#' * filled}{'.' * (BAR - filled)}", style=style)


class TerminalLine:
    """Shows the state of the latest call in one line."""

    def __init__(self) -> None:
        self._call = CallState()
        self._words = ""

    async def hear(self, entry: Entry) -> None:
        """Update the line with an event; a new call replaces the previous one."""
        match entry.event:
            case CallStarted():
                self._call, self._words = CallState(entry.call_id), ""
            case TranscriptFinal(text=text):
                self._words = f"caller: {text}"
            case AgentSaid(text=text):
                self._words = f"agent: {text}"
            case _:
                pass
        self._call.add(entry.event)

    def draw(self) -> Text:
        """Return the line: phase, turns, the latest answer time, failures and the latest words."""
        call = self._call
        if not call.started:
            return Text("waiting for a call", style="dim")
        phase = (
            f"ended: {phrase(ENDS, call.ended.reason)}" if call.ended else call.phase or "answered"
        )
        latest = f"  answered in {call.v2v_s[-1]:.2f} s" if call.v2v_s else ""
        missed, failed = call.counts[BudgetMissed], call.failures.total()
        over = f"  over budget {missed}" if missed else ""
        failures = f"  provider failures {failed}" if failed else ""
        words = self._words[:WORDS_SHOWN]
        return Text(f"{phase}  turn {len(call.v2v_s)}{latest}{over}{failures}  {words}")


REDRAW_S: Final = 0.25
GOODBYE_S: Final = 8.0  # for the current sentence and two short ones, as in a server
MICROPHONE_RESTS: Final = (
    "The microphone is off while the agent speaks. "
    "To be able to interrupt, wear headphones and start with --headphones."
)


async def talk(settings: Settings) -> None:
    """Hold one call with the person at this machine; Ctrl-C ends it with a goodbye.

    Raises:
        UsageError: There is no usable microphone or loudspeaker, or a tool or a rung does not work.
        CommandError: The call failed.
    """
    card = _choose_card(settings.transports.local)
    logs.set_up(level="WARNING", folder=settings.logs.dir)
    # Imported late: Pipecat prints a banner on stderr, where errors should stand alone.
    from bot.workers.process import open_process  # noqa: PLC0415
    from transports.local.leg import LocalLeg  # noqa: PLC0415

    console, line = Console(soft_wrap=True, highlight=False), TerminalLine()
    headphones = settings.transports.local.headphones
    async with open_process(settings, words=True, listeners=[line], record=True) as process:
        leg = LocalLeg(card, guard=None if headphones else EchoGuard(delay_s=LATENCY_S))
        call = process.call(leg)
        console.print(f"{'' if headphones else f'{MICROPHONE_RESTS} '}Ctrl-C says goodbye.")
        async with asyncio.TaskGroup() as tasks:
            side_tasks = [
                tasks.create_task(_end_when_asked(call, leg, console), name="end when asked"),
                tasks.create_task(_redraw_line(line, leg, console), name="show the call"),
            ]
            try:
                await process.switchboard.answer(leg, call)
            finally:
                for task in side_tasks:
                    task.cancel()
    if call.reason in ("failed", "never_connected", "device_lost"):
        why = phrase(ENDS, call.reason)
        raise CommandError(f"the call ended: {why}; see {settings.logs.dir}")


def _choose_card(local: LocalSettings) -> SoundCard:
    """Return the chosen sound card; raise `UsageError` if it cannot be used."""
    chosen = ChosenDevices(input=local.input, output=local.output)
    try:
        check_devices(chosen)
        return SoundCard.of(chosen)
    except NoAudioError as missing:
        raise UsageError(str(missing)) from missing


async def _end_when_asked(call: "Call", leg: "LocalLeg", console: Console) -> None:
    """Hang up at Ctrl-C, after a goodbye if the agent can be heard; a second one skips the rest."""
    async with _stop_requests() as stop_requested:
        await stop_requested.wait()
        stop_requested.clear()
        if leg.playing:  # otherwise the goodbye would be inaudible
            console.print("Saying goodbye; Ctrl-C again hangs up at once.")
            await call.end("caller_hung_up")
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await stop_requested.wait()
            except TimeoutError:
                pass
        await leg.put_down()


@asynccontextmanager
async def _stop_requests() -> AsyncIterator[asyncio.Event]:
    """Yield an event that every Ctrl-C and SIGTERM sets while the block runs."""
    stop_requested, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for item in signals:
        loop.add_signal_handler(item, stop_requested.set)
    try:
        yield stop_requested
    finally:
        for item in signals:
            loop.remove_signal_handler(item)


async def _redraw_line(line: TerminalLine, leg: "LocalLeg", console: Console) -> None:
    """Redraw the line until cancelled, on a terminal with the microphone's level."""

    def draw() -> Text:
        if not console.is_terminal:  # a level bar is useless in a file
            return line.draw()
        level = leg.take_level()
        return Text.assemble(level_bar(level.peak, resting=level.resting), "  ", line.draw())

    with Live(line.draw(), console=console, refresh_per_second=round(1 / REDRAW_S)) as display:
        try:
            while True:
                await asyncio.sleep(REDRAW_S)
                display.update(draw())
        finally:
            display.update(line.draw())
