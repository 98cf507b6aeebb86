"""The servers under test, ours or stock Pipecat's, as processes against the lab."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from configuration import environment
from configuration.settings import Settings
from lab.process import RunningLab, stage_of, with_lab
from runtime.exits import BAD_USAGE, CommandError, UsageError

AUTH_TOKEN: Final = "the-drill-signs-with-this"  # noqa: S105 - of the simulated carrier
GREETING: Final = "Hello, this is Holdline. How can I help?"
PORTS: Final = (20_000, 32_000)  # below Linux's range for outgoing connections, 32768 and up
READY_S: Final = 90.0  # five servers that started at once on two slow cores took over 30 s
STOP_S: Final = 10.0
RENDERED_S: Final = 180.0  # about 40 clips, each about as long as it takes to say it
ROOT: Final = Path(__file__).parents[__name__.count(".")]  # on the import path
OURS: Final = "holdline"
STOCK: Final = "stock-pipecat"
_PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    OURS: ("-m", "holdline", "serve"),
    STOCK: ("-m", "benchmarks.stock_pipecat"),
}
BOT: Final = ".py"  # ends the name of a side that is a developer's own bot
_BOT_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PYTHONPATH": str(ROOT),  # because a bot runs in its own folder
    "PYTHON_DOTENV_DISABLED": "1",  # a bot's `.env` has the keys of real providers
}
WORKER_SIGNALS: Final = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
ESTABLISHED: Final = "01"  # in /proc/net/tcp
CHARACTERS: Final = 300  # of a bot's own message (chosen)
_RENDERING: Final = ("-m", "holdline", "clips")


def check_side(side: str) -> None:
    """Raise a `UsageError` for a side that is unknown or not installed."""
    if is_bot(side):
        if not Path(side).is_file():
            raise UsageError(f"--bot is {side}; there is no such file")
        return
    if side not in _PROGRAMS:
        raise UsageError(f"{side!r}: --baseline takes {STOCK}, --bot a file that ends in {BOT}")
    if side == STOCK and not (ROOT / "benchmarks" / "stock_pipecat.py").is_file():
        raise UsageError(f"--baseline {STOCK} needs Holdline's source, with its benchmarks folder")


def is_bot(side: str) -> bool:
    """Return whether a side is a developer's own bot."""
    return side.endswith(BOT)


def title_of(side: str) -> str:
    """Return a side's name for the head of a column."""
    return Path(side).name if is_bot(side) else side.removesuffix("-pipecat")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgent:
    """A server that is ready for calls."""

    url: str
    pid: int


@asynccontextmanager
async def run_agent(
    lab: RunningLab, side: str, *, folder: Path, clips: bool = False
) -> AsyncIterator[str]:
    """Run a server during the block, and yield its URL; see `open_agent`."""
    async with open_agent(lab, side, folder=folder, clips=clips) as agent:
        yield agent.url


@asynccontextmanager
async def open_agent(
    lab: RunningLab,
    side: str,
    *,
    folder: Path,
    clips: bool = False,
    more: Sequence[str] = (),
) -> AsyncIterator[RunningAgent]:
    """Run a server during the block.

    Args:
        lab: The lab whose providers it uses.
        side: The server, `holdline` or `stock-pipecat`, or the file of a developer's own bot.
        folder: For its configuration and its logs.
        clips: Whether to render its clips first.
        more: Further command-line options.

    Raises:
        CommandError: It did not start, or the clips could not be rendered.
        UsageError: No run can start it.
    """
    port = _free_port()
    tree, keys = _server_configuration(lab, port, folder / "logs")
    config = await asyncio.to_thread(_write_configuration, folder, tree)
    url, log = f"http://127.0.0.1:{port}", folder / "server.txt"
    options, log_file = ("--config", str(config.resolve())), log.open("wb")
    start = partial(
        asyncio.create_subprocess_exec, sys.executable,
        env=_keyless_environment() | keys | (_BOT_ENVIRONMENT if is_bot(side) else {}),
        cwd=_folder_of(side), stdout=log_file, stderr=log_file,
    )  # fmt: skip
    if clips:
        await _wait_until_rendered(await start(*_RENDERING, *options), log=log)
    process = await start(*_program_arguments(side), *options, *more)
    try:
        await _wait_until_ready(url, process, side=side, log=log)
        yield RunningAgent(url=url, pid=process.pid)
    finally:
        log_file.close()
        await _stop_server(process)


def _program_arguments(side: str) -> Sequence[str]:
    """Return the arguments of Python that start the server of a side."""
    if is_bot(side):  # `-P`: the modules in its folder must not replace ours
        return ("-P", "-m", f"{__package__}.bot_server", "--bot", str(Path(side).resolve()))
    return _PROGRAMS[side]


def _folder_of(side: str) -> Path:
    return Path(side).resolve().parent if is_bot(side) else ROOT


def break_worker(agent: RunningAgent, fault: str) -> None:
    """Kill or freeze the worker that has the call's media connection.

    Raises:
        ConnectionError: No worker has a connection.
    """
    port = int(agent.url.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]
    columns = [line.split() for line in lines]
    sockets = {
        f"socket:[{column[9]}]"
        for column in columns
        if column[1].endswith(f":{port:04X}") and column[3] == ESTABLISHED
    }
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text(encoding="utf-8")
    for pid in children.split():
        handles = Path(f"/proc/{pid}/fd").iterdir()
        if any(str(handle.readlink()) in sockets for handle in handles):
            os.kill(int(pid), WORKER_SIGNALS[fault])
            return
    raise ConnectionError("no worker has the call")


async def takes_workers() -> bool:
    """Return whether `holdline serve` has the option `--workers`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *_PROGRAMS[OURS], "--help",
        env=_keyless_environment() | {"COLUMNS": "120"}, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()
    return b"--workers" in output


async def _wait_until_rendered(process: asyncio.subprocess.Process, *, log: Path) -> None:
    """Wait until the clips are rendered; raise `CommandError` if that fails or takes too long."""
    try:
        async with asyncio.timeout(RENDERED_S):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        code = await process.wait()
    if code:
        raise CommandError(f"the clips could not be rendered; see {log}")


def loopback_settings(lab: RunningLab, logs: Path) -> Settings:
    """Return the settings for calls on the loopback leg: those of a server, without transports.

    Args:
        lab: The lab whose providers the calls use.
        logs: For the calls' records.
    """
    tree, _ = _server_configuration(lab, 0, logs)
    return with_lab(lab, {key: tree[key] for key in ("agent", "logs", "hold", "storage")})


def _server_configuration(
    lab: RunningLab, port: int, logs: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a server's configuration, and the environment variables with its keys."""
    stages: dict[str, list[dict[str, Any]]] = {"stt": [], "llm": [], "tts": []}
    keys: dict[str, str] = {"TWILIO_AUTH_TOKEN": AUTH_TOKEN, "TWILIO_ACCOUNT_SID": "AC0"}
    for instance in lab.instances:
        variable = f"KEY_{instance['name'].upper().replace('-', '_')}"
        keys[variable] = instance["api_key"]
        vendor = variable.removeprefix("KEY_")  # as a developer's own bot finds it
        keys |= {f"{vendor}_API_KEY": instance["api_key"], f"{vendor}_BASE_URL": instance["url"]}
        left_out = ("port", "stage", "api_key")
        rung = {key: value for key, value in instance.items() if key not in left_out}
        stages[stage_of(instance)].append(rung | {"api_key_env": variable})
    tree = {
        "server": {"host": "127.0.0.1", "port": port, "public_url": f"http://127.0.0.1:{port}"},
        "agent": {"greeting": GREETING},
        "stages": stages,
        "transports": {"twilio": {"enabled": True}, "webrtc": {"enabled": False}},
        "logs": {"level": "INFO", "dir": str(logs.resolve())},
        "hold": {"render": False},  # rendering in the background would disturb the calls
        "storage": {"url": f"sqlite+aiosqlite:///{(logs.resolve().parent / 'holdline.db')}"},
        "shutdown": {"drain_s": 0},
    }
    return tree, keys


def _write_configuration(folder: Path, tree: Mapping[str, Any]) -> Path:
    """Write a configuration into a folder, created if necessary; return the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "holdline.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return config


def _keyless_environment() -> dict[str, str]:
    """Return the environment for a server, without keys of real providers."""
    given = environment.read_environment().values
    return {name: given[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in given}


def _free_port() -> int:
    """Return a free port outside the range of outgoing connections."""
    while True:
        port = random.randrange(*PORTS)  # noqa: S311 - to avoid collisions, not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


async def _wait_until_ready(
    url: str, process: asyncio.subprocess.Process, *, side: str, log: Path
) -> None:
    """Return when `/readyz` answers 200.

    Raises:
        UsageError: It refused its options, or a bot was not imported in time.
        CommandError: It ended otherwise, or was not ready within `READY_S`.
    """
    try:
        async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
            while process.returncode is None:
                try:
                    async with session.get(f"{url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass  # it does not listen yet
                await asyncio.sleep(0.05)
    except TimeoutError:
        if is_bot(side):
            raise UsageError(
                f"{side} was not imported within {READY_S:g} s; does it start its own server?"
                " Put that below `if __name__ == '__main__':`"
            ) from None
        raise CommandError(f"the server was not ready within {READY_S:g} s; see {log}") from None
    if process.returncode == BAD_USAGE:
        raise UsageError(await asyncio.to_thread(_last_line, log))
    raise CommandError(f"the server ended with {process.returncode}; see {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("holdline: ") if lines else f"the server did not start; see {log}"
    return last[:CHARACTERS]


async def _stop_server(process: asyncio.subprocess.Process) -> None:
    """End a server with SIGTERM; kill it if it still runs after `STOP_S`."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
