"""Measures what callers hear when one of three machines dies, freezes, or loses its network.

    .venv/bin/python -m benchmarks.machines [--runs 10] [--doors twilio,telnyx,plivo]
        [--faults killed,frozen-5,frozen-20,frozen-40,unplugged] [--seed 1] [--json FILE]
        [--keep FOLDER]

benchmarks/README.md describes the measurement. It needs root, for network namespaces.
"""

import argparse
import asyncio
import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.dying_workers import (
    DOORS,
    Death,
    Place,
    agent_with_tool,
    keep_missed,
    run_once,
    show_death,
)
from benchmarks.figures import percentile
from benchmarks.relay import relay
from benchmarks.usage import family
from lab.control import LabControl
from lab.process import LabOptions, RunningLab, lab_process
from operations.telemetry import logs
from tests.bot.serving import Served, free_port, serving
from tests.bot.workers.carrier_lines import secrets_in
from tests.kit.haproxy import CONFIGURATION, answers
from tests.share_servers import running_redis

NAMES: Final = ("a", "b", "c")
NETWORK: Final = f"10.{64 + os.getpid() % 128}"  # so that two runs do not meet
PORT: Final = 8080
CHECK_PORT: Final = 8079
USUAL_DOORS: Final = ("twilio", "telnyx", "plivo")
AWAKE_S: Final = 3.0  # how long a machine that is back is watched before the second question
LOOPBACK: Final = re.compile(r"127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFault:
    """A way for a machine to go.

    Attributes:
        is_killed: All its processes are killed; otherwise it comes back.
        is_frozen: All its processes are stopped.
        back_after_s: When it comes back.
        within_s: The time from the fault to the next speech, p95: the target.
    """

    is_killed: bool = False
    is_frozen: bool = False
    back_after_s: float = 0.0
    within_s: float


FAULTS: Final[Mapping[str, MachineFault]] = {
    "killed": MachineFault(is_killed=True, within_s=2.5),
    "frozen-5": MachineFault(is_frozen=True, back_after_s=5.0, within_s=5.0),
    "frozen-20": MachineFault(is_frozen=True, back_after_s=20.0, within_s=5.0),
    "frozen-40": MachineFault(is_frozen=True, back_after_s=40.0, within_s=5.0),
    "unplugged": MachineFault(back_after_s=20.0, within_s=6.0),
}


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if nothing could be tried."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="of each line and fault")
    parser.add_argument("--doors", type=lambda text: text.split(","), default=USUAL_DOORS)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=[*FAULTS])
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--json", type=Path, help="file for all runs")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder for the servers' files, and for the audio of runs that missed",
    )
    options = parser.parse_args()
    if os.geteuid() or not (shutil.which("ip") and shutil.which("haproxy")):
        print("unproven: root, iproute2 and HAProxy are needed")
        return 3
    logs.set_up(level="ERROR", folder=None)
    found: list[dict[str, Any]] = []
    good = True
    for door in options.doors:
        with _kept_or_temporary_folder(options.keep, door) as folder:
            good &= asyncio.run(_measure_faults(door, options, folder, found))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    return 0 if good else 1


@contextmanager
def _kept_or_temporary_folder(keep: Path | None, door: str) -> Iterator[Path]:
    """Yield an empty folder for the servers of a line: one that is kept, or a temporary one."""
    with tempfile.TemporaryDirectory(prefix="holdline-machines-") as temporary:
        folder = Path(temporary) if keep is None else keep / f"{door}-servers"
        folder.mkdir(parents=True, exist_ok=keep is None)
        yield folder


async def _measure_faults(
    door: str, options: argparse.Namespace, folder: Path, found: list[dict[str, Any]]
) -> bool:
    """Measure all faults over one kind of line; return whether all targets were met."""
    moments = random.Random(options.seed)  # noqa: S311 - no secret
    good = True
    async with _open_fleet(door, folder) as (place, fleet):
        for name in options.faults:
            fault = FAULTS[name]
            print(f"{door}, {name}, load {os.getloadavg()[0]:.1f}", flush=True)
            deaths: list[Death] = []
            for number in range(options.runs):
                await fleet.until_whole(place)
                back_s = fault.back_after_s
                death = await run_once(
                    place,
                    lambda pid, fault=fault: fleet.suffer(pid, fault),
                    moments.uniform(0.4, 4.4),
                    lasts_s=back_s + AWAKE_S if back_s else 0.0,
                )
                show_death(number, death)
                await keep_missed(death, options.keep, f"{door}-{name}-{number}")
                deaths.append(death)
                kept = asdict(replace(death, sound=None)) | {"whole": death.whole}
                found.append({"door": door, "fault": name, **kept})
            good &= _sum_up(deaths, fault)
    return good


def _sum_up(deaths: Sequence[Death], fault: MachineFault) -> bool:
    again = [death.again_s if death.again_s is not None else float("inf") for death in deaths]
    whole = sum(death.whole for death in deaths)
    p50, p95 = (percentile(again, share) for share in (0.5, 0.95))
    good = p95 <= fault.within_s and whole == len(deaths)
    print(
        f"  next speech after p50 {p50:.2f} s, p95 {p95:.2f} s (target {fault.within_s:g} s);"
        f" {whole} of {len(deaths)} whole: {'met' if good else 'missed'}",
        flush=True,
    )
    return good


# -- machines


def _run_command(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our commands


@dataclass(slots=True, kw_only=True)
class Machine:
    """A server in a network namespace of its own, which a cable connects to the others.

    Attributes:
        name: As `server.machine`.
        number: From 1; it decides the addresses.
        stack: Holds the running server.
        served: The server.
    """

    name: str
    number: int
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    served: Served | None = None

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return f"holdline-{os.getpid()}-{self.name}"

    @property
    def cable(self) -> str:
        """Our end of its cable."""
        return f"hl{self.number}-{os.getpid() % 100_000}"

    @property
    def inner(self) -> str:
        """The machine's end."""
        return f"{self.cable}n"

    @property
    def host(self) -> str:
        """Its address."""
        return f"{NETWORK}.{self.number}.2"

    @property
    def outside(self) -> str:
        """The address of everything else, from inside."""
        return f"{NETWORK}.{self.number}.1"

    def connect(self) -> None:
        """Make the namespace and the cable."""
        _run_command("ip", "netns", "add", self.namespace)
        _run_command("ip", "link", "add", self.cable, "type", "veth", "peer", "name", self.inner)
        _run_command("ip", "link", "set", self.inner, "netns", self.namespace)
        _run_command("ip", "address", "add", f"{self.outside}/24", "dev", self.cable)
        _run_command("ip", "link", "set", self.cable, "up")
        inside = ("ip", "-n", self.namespace)
        _run_command(*inside, "address", "add", f"{self.host}/24", "dev", self.inner)
        _run_command(*inside, "link", "set", self.inner, "up")
        _run_command(*inside, "link", "set", "lo", "up")

    def disconnect(self) -> None:
        """Remove the namespace, and the cable with it."""
        _run_command("ip", "netns", "delete", self.namespace)

    def plug(self, *, is_in: bool) -> None:
        """Put the cable into the machine, or take it out.

        It is the machine's end: without ours, the route would be gone, and packets would leave
        by the default route.
        """
        _run_command(
            "ip", "-n", self.namespace, "link", "set", self.inner, "up" if is_in else "down"
        )

    @property
    def processes(self) -> list[int]:
        """All processes of the server that run: the supervisor's, then its workers'."""
        if self.served is None:
            return []
        return [pid for pid in family(self.served.process.pid) if Path(f"/proc/{pid}").exists()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes."""
        for pid in self.processes:
            os.kill(pid, number)


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Machines that share a store, behind one HAProxy with this address."""

    url: str
    machines: Sequence[Machine]
    lab: RunningLab
    folder: Path
    tree: Mapping[str, Any]
    environment: Mapping[str, str]
    returns: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connected(self, machine: Machine, ports: Iterable[int]) -> AsyncIterator[None]:
        """Connect a machine to what listens on these ports of loopback, during the block."""
        place = self.folder / machine.name
        place.mkdir()
        if (tool := self.folder / "hours.py").exists():
            shutil.copy(tool, place)  # next to the configuration
        machine.connect()
        async with AsyncExitStack() as stack:
            stack.callback(machine.disconnect)
            for port in ports:
                listens = (machine.outside, port)
                await stack.enter_async_context(relay(port, away_s=0.0, at=listens))
            stack.push_async_callback(machine.stack.aclose)
            stack.callback(machine.signal, signal.SIGCONT)
            yield

    async def start(self, machine: Machine) -> None:
        """Start a machine's server."""

        def moved(text: str) -> str:
            return LOOPBACK.sub(rf"{machine.outside}:\1", text)

        tree = json.loads(moved(json.dumps(self.tree)))
        server = {
            **self.tree["server"],
            "host": machine.host,
            "machine": machine.name,
            "agent_check_port": CHECK_PORT,
        }
        instances = json.loads(moved(json.dumps([dict(item) for item in self.lab.instances])))
        machine.served = await machine.stack.enter_async_context(
            serving(
                replace(self.lab, instances=instances),
                self.folder / machine.name,
                changes={**tree, "server": server},
                environment={key: moved(value) for key, value in self.environment.items()},
                port=PORT,
                within=("ip", "netns", "exec", machine.namespace),
            )
        )

    async def suffer(self, pid: int, fault: MachineFault) -> None:
        """Break the machine that has this process; it comes back by itself, or `until_whole`."""
        machine = next(item for item in self.machines if pid in item.processes)
        if fault.is_killed:
            machine.signal(signal.SIGKILL)
            return
        machine.plug(is_in=False)
        if fault.is_frozen:
            machine.signal(signal.SIGSTOP)
        self.returns = asyncio.create_task(self._bring_back(machine, fault))

    async def _bring_back(self, machine: Machine, fault: MachineFault) -> None:
        await asyncio.sleep(fault.back_after_s)
        machine.plug(is_in=True)
        machine.signal(signal.SIGCONT)

    async def start_killed(self) -> None:
        """Start the servers of machines whose supervisor was killed."""
        for machine in self.machines:
            if machine.served and machine.served.process.returncode is not None:
                await machine.stack.aclose()
                await self.start(machine)

    async def until_whole(self, place: Place) -> None:
        """Start machines that were killed, and wait until all answer."""
        if self.returns:
            await self.returns
        await self.start_killed()
        place.servers = [machine.served for machine in self.machines if machine.served]
        await place.until_all_work()


@asynccontextmanager
async def _open_fleet(door: str, folder: Path) -> AsyncIterator[tuple[Place, Fleet]]:
    """Open a line to three machines behind one HAProxy, with one Redis."""
    runs = folder / "runs.txt"
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_redis())
        line = await stack.enter_async_context(DOORS[door](folder))
        tree = dict(line.tree)
        environment = {"HOLDLINE__SERVER__STORE": store.url, **secrets_in(tree)}
        lab = await stack.enter_async_context(lab_process(options=LabOptions(keep_audio=True)))
        control = await stack.enter_async_context(LabControl(lab))
        tree |= agent_with_tool(folder, runs)
        opening = open_fleet(NAMES, folder, lab=lab, tree=tree, environment=environment)
        fleet = await stack.enter_async_context(opening)
        place = Place(
            door=line,
            url=fleet.url,
            servers=[machine.served for machine in fleet.machines if machine.served],
            lab=lab,
            control=control,
            runs=runs,
            workers=len(NAMES),
        )
        yield place, fleet


@asynccontextmanager
async def open_fleet(
    names: Sequence[str],
    folder: Path,
    *,
    lab: RunningLab,
    tree: Mapping[str, Any],
    environment: Mapping[str, str],
) -> AsyncIterator[Fleet]:
    """Run two or three machines behind one HAProxy during the block.

    Args:
        names: `a`, `b` and perhaps `c`.
        folder: For all files.
        lab: The providers.
        tree: The sections of the configuration that differ from the usual ones.
        environment: The same for variables: the store's address, and secrets.
    """
    front = free_port()
    url = f"http://127.0.0.1:{front}"
    server = {"public_url": url, "workers": 1, **tree.get("server", {})}
    machines = [Machine(name=name, number=number) for number, name in enumerate(names, 1)]
    fleet = Fleet(
        url=url,
        machines=machines,
        lab=lab,
        folder=folder,
        tree={**tree, "server": server},
        environment={"HOLDLINE_TOKEN": secrets.token_hex(), **environment},
    )
    reached = json.dumps([dict(tree), [*map(dict, lab.instances)], dict(environment)])
    ports = {int(port) for port in LOOPBACK.findall(reached)}
    async with AsyncExitStack() as stack:
        for machine in machines:
            await stack.enter_async_context(fleet.connected(machine, ports))
        await asyncio.gather(*map(fleet.start, machines))
        stack.enter_context(_run_haproxy(front, folder, machines=len(machines)))
        await answers(url)
        yield fleet


@contextmanager
def _run_haproxy(port: int, folder: Path, *, machines: int) -> Iterator[None]:
    """Run HAProxy with the documented configuration, without TLS."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"bind :443 \S+ crt \S+ ", f"bind 127.0.0.1:{port} ", text)
    if machines > 2:
        text = _with_third(text)
    text = re.sub(r"10\.0\.0\.(\d)", rf"{NETWORK}.\1.2", text)
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    program = shutil.which("haproxy") or "haproxy"
    with subprocess.Popen([program, "-db", "-f", file]) as process:  # noqa: S603 - ours
        try:
            yield
        finally:
            process.kill()


def _with_third(text: str) -> str:
    """Return the configuration of two machines with a third one."""
    third = re.compile(r"^( +(?:server|use_backend) .*\bb\b.*)$", re.MULTILINE)
    text = third.sub(
        lambda found: f"{found[1]}\n" + re.sub(r"\bb\b", "c", found[1]).replace(".2:", ".3:"), text
    )
    one = text[text.index("\nbackend machine-b") :]
    return text + re.sub(r"^(backend machine-|    use-server )b", r"\1c", one, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
