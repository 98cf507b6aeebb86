"""The demo: a complete phone agent without keys, on simulated providers that can be broken."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live as LiveDisplay
from rich.text import Text

from bot.call.models import VoiceModels
from bot.programs.mic import TerminalLine
from bot.server.server import Extras, Server, bind_socket, run_server
from configuration.running_demo import announced
from lab.demo.lab_routes import lab_router
from lab.process import STAGE_OF, LabOptions, RunningLab, lab_process, with_lab
from providers.catalog import provider

HOST: Final = "127.0.0.1"
REDRAWS_PER_S: Final = 4  # of the terminal's line; enough to read along


async def demo(
    *,
    port: int,
    folder: Path,
    options: LabOptions | None = None,
    lab_runs: Callable[[RunningLab], None] = lambda _: None,
) -> None:
    """Start the lab and a server against it, print one URL, and run until SIGINT or SIGTERM.

    Args:
        port: Where to listen on loopback; 0 for any.
        folder: For the log and the calls' own records.
        options: The lab's options.
        lab_runs: Called with the running lab before calls are possible.

    Raises:
        UsageError: The port is taken.
    """
    listener = bind_socket(HOST, port)
    loading = asyncio.get_running_loop().run_in_executor(None, _load_models)  # while the lab starts
    port = listener.getsockname()[1]
    console = Console(soft_wrap=True, highlight=False)
    console.print("Starting the simulated providers (up to half a minute) …", style="dim")
    async with lab_process(options=options) as lab:
        lab_runs(lab)
        console.print("Loading the voices and the speech detection …", style="dim")
        line = TerminalLine()
        settings = with_lab(lab, _demo_settings(folder, port))
        extras = Extras(
            words=True, listeners=[line], routers=[lab_router(lab)], models=await loading
        )
        console.print("Starting the server …", style="dim")
        announcement = announced(folder, port, storage=settings.storage.url, logs=folder)
        async with run_server(settings, [listener], extras=extras) as server:
            console.print(f"Holdline is ready: open http://{HOST}:{port}/ and press Call.")
            console.print("Ctrl-C ends it.", style="dim")
            with announcement:
                await _show_until_finished(server, line, console)


async def _show_until_finished(server: Server, line: TerminalLine, console: Console) -> None:
    """Redraw the terminal's line until the server has finished."""
    with LiveDisplay(Text(""), console=console, refresh_per_second=REDRAWS_PER_S) as display:
        while not server.finished.is_set():
            display.update(line.draw())
            try:
                async with asyncio.timeout(1 / REDRAWS_PER_S):
                    await server.finished.wait()
            except TimeoutError:
                continue


def _load_models() -> VoiceModels:
    """Load the slowest parts while the lab starts; blocks."""
    for kind, stage in STAGE_OF.items():
        provider(stage, kind).load()
    return VoiceModels.load()


def _demo_settings(folder: Path, port: int) -> dict[str, Any]:
    """Return the settings that only the demo needs."""
    return {
        "server": {"host": HOST, "port": port},
        "logs": {"dir": folder},
        "storage": {"url": f"sqlite+aiosqlite:///{folder / 'demo.db'}"},  # the demo's own database
        "shutdown": {"drain_s": 0},
    }
