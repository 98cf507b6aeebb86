"""`holdline mic`: one call on this machine's microphone and loudspeaker."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bot.config.settings import LocalSettings, Settings
from bot.exits import CommandError, UsageError
from transports.local.echo_guard_rules import EchoGuard
from transports.local.sound_card import LATENCY_S, SoundCard, check_devices
from transports.local.sound_devices import ChosenDevices, NoAudioError

if TYPE_CHECKING:
    from rich.console import Console

    from bot.call.call import Call
    from bot.programs.terminal_line import TerminalLine
    from transports.local.leg import LocalLeg

REDRAW_S: Final = 0.25
GOODBYE_S: Final = 8.0  # as long as a server waits: what is being said, and two short sentences
RESTS: Final = (
    "The microphone rests while the agent speaks. "
    "With headphones on, start with --headphones to be able to interrupt."
)


async def talk(settings: Settings) -> None:
    """Hold one call with the person at this machine; Ctrl-C ends it with a goodbye.

    Raises:
        UsageError: There is no microphone or no loudspeaker that we can use.
        CommandError: The call failed.
    """
    card = _choose_card(settings.transports.local)
    # Pipecat writes a banner to stderr when it is imported; an error is to stand there alone.
    from rich.console import Console  # noqa: PLC0415

    from bot.programs.terminal_line import TerminalLine  # noqa: PLC0415
    from bot.workers.opening import open_process  # noqa: PLC0415
    from operations.record.record_keeper import record_keeper  # noqa: PLC0415
    from operations.telemetry import logs  # noqa: PLC0415
    from transports.local.leg import LocalLeg  # noqa: PLC0415

    logs.set_up(level="WARNING", folder=settings.logs.dir)
    console, line = Console(soft_wrap=True, highlight=False), TerminalLine()
    headphones = settings.transports.local.headphones
    async with open_process(
        settings, words=True, listeners=[line], keeper=record_keeper(settings)
    ) as process:
        leg = LocalLeg(card, guard=None if headphones else EchoGuard(delay_s=LATENCY_S))
        call = process.call(leg)
        console.print(f"{'' if headphones else f'{RESTS} '}Ctrl-C says goodbye.")
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(_end_when_asked(call, leg, console), name="end when asked"),
                tasks.create_task(_show(line, leg, console), name="show the call"),
            ]
            try:
                await process.switchboard.answer(leg, call)
            finally:
                for task in beside:
                    task.cancel()
    if call.reason in ("failed", "never_connected", "device_lost"):
        raise CommandError(f"the call ended: {call.reason}; {settings.logs.dir} says more")


def _choose_card(local: LocalSettings) -> SoundCard:
    chosen = ChosenDevices(input=local.input, output=local.output)
    try:
        check_devices(chosen)
        return SoundCard.of(chosen)
    except NoAudioError as missing:
        raise UsageError(str(missing)) from missing


async def _end_when_asked(call: "Call", leg: "LocalLeg", console: "Console") -> None:
    """Have the agent say goodbye at the first Ctrl-C, and hang up at the second."""
    async with _stop_requests() as asked:
        await asked.wait()
        asked.clear()
        if leg.playing:  # otherwise nobody would hear a goodbye
            console.print("Saying goodbye; Ctrl-C again hangs up at once.")
            await call.end("caller_hung_up")
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await asked.wait()
            except TimeoutError:
                pass
        await leg.put_down()


@asynccontextmanager
async def _stop_requests() -> AsyncIterator[asyncio.Event]:
    """Yield what is set by each Ctrl-C, or SIGTERM, while the block runs."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, asked.set)
    try:
        yield asked
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _show(line: "TerminalLine", leg: "LocalLeg", console: "Console") -> None:
    from rich.live import Live  # noqa: PLC0415 - beside the other imports of the call
    from rich.text import Text  # noqa: PLC0415

    from bot.programs.terminal_line import level_bar  # noqa: PLC0415

    def draw() -> Text:
        if not console.is_terminal:  # a log of bars is of no use to anybody
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
