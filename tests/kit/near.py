"""Runs the lab and our process or server in the test's process: whole calls on virtual time."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.server.server import Extras, Server, run_server
from bot.workers.process import Process, open_process
from calls.entry import Entry
from calls.events import Event
from configuration.settings import Settings
from lab.process import LAB_NUMBERS, RunningLab, with_lab
from lab.simulators.instance import Core
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from operations.telemetry.emitter import Listener
from tests.lab.simulators.near_ears import bring_near


class Notes:
    """A listener that keeps all events, of calls and of the process."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)

    def of(self, *kinds: type[Event]) -> list[Any]:
        """Return the events of these kinds, in order."""
        return [entry.event for entry in self.entries if isinstance(entry.event, kinds)]

    def of_call(self, call_id: str) -> list[Event]:
        return [entry.event for entry in self.entries if entry.call_id == call_id]


def steady_lab(
    *,
    faults: Mapping[str, Sequence[Window]] | None = None,
    seed: int = 0,
    keep_audio: bool = False,
) -> Lab:
    """Make a lab with fixed delays shorter than the median, so that no provider is late."""
    core = Core(steady=True)
    lab = Lab(core=core, speed=1.25, schedule=faults or {}, seed=seed, keep_audio=keep_audio)
    return bring_near(lab)


def running(lab: Lab) -> RunningLab:
    """Return the description of a started lab, as `lab_process` yields it."""
    told = lab.describe()
    return RunningLab(
        control_url=told["control"]["url"],
        control_token=told["control"]["token"],
        instances=told["instances"],
        started_at_s=told["started_at_s"],
    )


@asynccontextmanager
async def near_lab(
    *, faults: Mapping[str, Sequence[Window]] | None = None, seed: int = 0
) -> AsyncIterator[RunningLab]:
    """Run a steady lab during the block."""
    async with steady_lab(faults=faults, seed=seed) as lab:
        yield running(lab)


@asynccontextmanager
async def near_process(
    folder: Path,
    *listeners: Listener,
    lab: Lab | None = None,
    tree: Mapping[str, Any] | None = None,
    rungs: Mapping[str, Mapping[str, Any]] | None = None,
    words: bool = True,
    recorded: bool = False,
) -> AsyncIterator[Process]:
    """Run a process and its lab during the block.

    Args:
        folder: Where the logs go.
        listeners: Receive all events.
        lab: `None` for a steady one.
        tree: The sections of the configuration other than `stages`.
        rungs: Additional configuration keys of a rung, by its name.
        words: Whether the live view may show transcripts.
        recorded: Whether the record of the calls is stored in the database.
    """
    async with lab or steady_lab() as started:
        stages = {
            stage: [rung | (rungs or {}).get(rung["name"], {}) for rung in ladder]
            for stage, ladder in running(started).stages.items()
        }
        settings = Settings.model_validate(
            {
                "logs": {"dir": folder},
                "outbound": LAB_NUMBERS,
                **(tree or {}),
                "stages": stages,
            }
        )
        async with open_process(
            settings, words=words, listeners=listeners, record=recorded
        ) as process:
            yield process


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def near_server(
    listener: socket.socket,
    *listeners: Listener,
    lab: Lab,
    folder: Path,
    tree: Mapping[str, Mapping[str, Any]],
) -> AsyncIterator[Server]:
    """Run a server with a started lab during the block.

    Args:
        listener: The socket on which the server listens.
        listeners: Receive all events.
        lab: The simulated providers.
        folder: Where the logs and the database go.
        tree: Sections of the configuration, merged over the defaults of this function.
    """
    sections: dict[str, dict[str, Any]] = {
        "server": {"port": listener.getsockname()[1], "public_url": url_of(listener)},
        "logs": {"dir": folder / "logs"},
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        "hold": {"render": False},
    }
    for name, section in tree.items():
        sections[name] = {**sections.get(name, {}), **section}
    settings = with_lab(running(lab), sections)
    async with run_server(settings, [listener], extras=Extras(listeners=listeners)) as server:
        await server.ready.wait()
        yield server
