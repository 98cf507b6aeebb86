"""`holdline mic`: one call on this machine's microphone and loudspeaker."""

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from bot.config.settings import Settings
from bot.exits import CommandError, UsageError
from transports.sound_card import NoAudioError, check_devices

if TYPE_CHECKING:
    from rich.console import Console

    from bot.terminal_line import TerminalLine
    from transports.local import LocalLeg

REDRAW_S: Final = 0.25


async def talk(settings: Settings) -> None:
    """Hold one call with the person at this machine; Ctrl-C hangs up.

    Raises:
        UsageError: There is no microphone or no loudspeaker that we can use.
        CommandError: The call failed.
    """
    try:
        check_devices()
    except NoAudioError as missing:
        raise UsageError(str(missing)) from missing
    # Pipecat writes a banner to stderr when it is imported; an error is to stand there alone.
    from rich.console import Console  # noqa: PLC0415

    from bot.process import open_process  # noqa: PLC0415
    from bot.terminal_line import TerminalLine  # noqa: PLC0415
    from telemetry import logs  # noqa: PLC0415
    from transports.local import LocalLeg  # noqa: PLC0415

    logs.set_up(level="WARNING", folder=settings.logs.dir)
    console, line = Console(soft_wrap=True, highlight=False), TerminalLine()
    async with open_process(settings, words=True, listeners=[line]) as process:
        leg = LocalLeg()
        call = process.call(leg)
        console.print("Wear headphones: the agent must not hear itself. Ctrl-C hangs up.")
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(_hang_up_when_asked(leg), name="hang up when asked"),
                tasks.create_task(_show(line, console), name="show the call"),
            ]
            try:
                await process.switchboard.answer(leg, call)
            finally:
                for task in beside:
                    task.cancel()
    if call.reason in ("failed", "never_connected", "device_lost"):
        raise CommandError(f"the call ended: {call.reason}; {settings.logs.dir} says more")


async def _hang_up_when_asked(leg: "LocalLeg") -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, asked.set)
    try:
        await asked.wait()
        await leg.put_down()
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _show(line: "TerminalLine", console: "Console") -> None:
    from rich.live import Live  # noqa: PLC0415 - beside the other imports of the call

    with Live(line.draw(), console=console, refresh_per_second=round(1 / REDRAW_S)) as display:
        try:
            while True:
                await asyncio.sleep(REDRAW_S)
                display.update(line.draw())
        finally:
            display.update(line.draw())
