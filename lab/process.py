"""Runs the fault lab as a command, or in a separate process for a demo, a replay or a test.

With a separate process, the engines of the simulated providers take no time from the loop that
serves the caller, just as with real providers.
"""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from configuration.settings import Settings
from lab.simulators.ears.known import KnownEars, KnownUtterance
from lab.simulators.instance import Core
from lab.simulators.lab import DEFAULT, KINDS, Lab, Spec, schedule_for
from lab.simulators.pace import TEMPOS
from lab.simulators.schedule import Window, load_schedules
from lab.simulators.voices.voices import voice_of, word_sound
from providers.catalog import PROVIDERS
from providers.provider import Stage
from providers.sphinx_ear import NOT_INSTALLED, is_installed
from runtime.exits import CommandError, UsageError

START_S: Final = 30.0  # includes loading a speech recogniser
STOP_S: Final = 5.0
PHONE_HZ: Final = 8000  # the rate at which voices speak in telephone calls
PHRASES: Final = Path(__file__).parent / "simulators" / "ears" / "data" / "caller_phrases.txt"
STAGE_OF: Final[Mapping[str, Stage]] = {
    provider.kind: provider.stage  # of a kind with two stages, the earlier one
    for provider in reversed(PROVIDERS)
    if provider.kind in KINDS
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLab:
    """A running lab."""

    control_url: str
    control_token: str
    instances: Sequence[Mapping[str, Any]]  # name, kind, url, port, api_key; perhaps stage, service
    started_at_s: float = 0.0  # on the monotonic clock; the lab's record counts from there
    pid: int = 0  # of its process

    @property
    def stages(self) -> dict[str, list[dict[str, Any]]]:
        """The ladders with this lab's providers, as `Settings.stages` takes them."""
        ladders: dict[str, list[dict[str, Any]]] = {"stt": [], "llm": [], "tts": []}
        for instance in self.instances:
            rung = {key: value for key, value in instance.items() if key not in ("port", "stage")}
            ladders[stage_of(instance)].append(rung)
        return ladders


def stage_of(instance: Mapping[str, Any]) -> str:
    """Return the stage of a simulated provider; of a kind with two stages, the earlier one."""
    return instance.get("stage") or STAGE_OF[instance["kind"]]


def phrases() -> list[str]:
    """Return the phrases that the simulated receptionist understands."""
    lines = PHRASES.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


LAB_NUMBERS: Final[Mapping[str, Any]] = {
    "prefixes": ["+1500555", "+1555"],
    "cost_classes": ["personal", "unknown"],  # those of these numbers
    **dict.fromkeys(("concurrent", "hourly", "daily_minutes", "number_daily"), 100_000),
}
"""`outbound` for the lab's numbers, which have no subscribers: +1 555 is not assigned."""


def with_lab(lab: RunningLab, tree: Mapping[str, Any] | None = None) -> Settings:
    """Return settings with the lab's rungs and numbers; `tree` sets the rest.

    An `outbound` in `tree` replaces the lab's numbers; `stages` in it are ignored.
    """
    return Settings.model_validate({"outbound": LAB_NUMBERS, **(tree or {}), "stages": lab.stages})


def read_schedule(path: Path | None) -> str:
    """Return the text of a valid fault schedule; empty for none.

    Raises:
        UsageError: The file cannot be read, or is invalid; the message is one line.
    """
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8")
        schedule_for(text)
    except (OSError, ValueError) as unreadable:
        raise UsageError(f"--faults {path}: {' '.join(str(unreadable).split())}") from unreadable
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """The options of a lab.

    Attributes:
        speed: Divides every simulated delay.
        seed: Of all random numbers.
        steady: Every delay is the median of its distribution, so that runs can be compared.
        keep_audio: Keep what the voices send, for judging what was heard.
        uncapped: Recognisers take audio at any speed, which Deepgram does not.
        delays: `usual`, or `quick` (`lab/simulators/pace.py`).
        known: What callers will say. Such a lab needs little CPU, for measurements: recognisers
            look the words up, and voices speak word by word.
        ready: With `known`, texts whose words the voices prepare before the first call.
        text_only: No speech will be recognised, so that no recogniser is needed.
        instances: The simulated providers.
        rungs: By an instance's name, what differs in its rung: `stage`, `kind`, `service`, `path`
            (appended to its URL), ...
    """

    speed: float = 1.0
    seed: int = 0
    steady: bool = False
    keep_audio: bool = False
    uncapped: bool = False
    delays: str = "usual"
    known: tuple[KnownUtterance, ...] = ()
    ready: tuple[str, ...] = ()
    text_only: bool = False
    instances: tuple[Spec, ...] = DEFAULT
    rungs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


@asynccontextmanager
async def lab_process(
    *, faults: Path | None = None, options: LabOptions | None = None
) -> AsyncIterator[RunningLab]:
    """Run a lab in its own process during the block.

    Args:
        faults: A fault schedule.
        options: The options of the lab.

    Raises:
        UsageError: The fault schedule is invalid.
        CommandError: The lab did not start, or cannot recognise speech on this machine.
    """
    if not (options and (options.known or options.text_only)):
        check_recogniser()
    schedule = read_schedule(faults)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, schedule, options or LabOptions())
    process = context.Process(target=_run_child, args=arguments, name="holdline-lab")
    process.start()
    theirs.close()
    try:
        lab = await _receive_description(ours)
        instances = (
            [_with_rung_options(item, options) for item in lab.instances] if options else None
        )
        yield replace(lab, pid=process.pid or 0, instances=instances or lab.instances)
    finally:
        ours.close()  # the lab ends when its pipe closes, even if this process is killed
        await asyncio.to_thread(process.join, STOP_S)
        if process.is_alive():
            process.kill()
            await asyncio.to_thread(process.join, STOP_S)


def _with_rung_options(instance: Mapping[str, Any], options: LabOptions) -> Mapping[str, Any]:
    """Return an instance with its rung's options; `path` is appended to its URL."""
    rung = dict(options.rungs.get(instance["name"], {}))
    return {**instance, "url": instance["url"] + rung.pop("path", ""), **rung}


async def _receive_description(pipe: Connection) -> RunningLab:
    """Wait until the lab has started; raise `CommandError` if it does not."""
    try:
        if not await asyncio.to_thread(pipe.poll, START_S):
            raise CommandError(f"the fault lab did not start within {START_S:g} s")
        description = pipe.recv()
    except EOFError as dead:
        raise CommandError("the fault lab ended before it had started") from dead
    return RunningLab(
        control_url=description["control"]["url"],
        control_token=description["control"]["token"],
        instances=description["instances"],
        started_at_s=description["started_at_s"],
    )


def _run_child(pipe: Connection, schedule: str, options: LabOptions) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends the lab
    asyncio.run(_serve_parent(pipe, schedule, options))


async def _serve_parent(pipe: Connection, schedule: str, options: LabOptions) -> None:
    """Run the lab until the parent closes its end of the pipe, or has ended."""
    voices = {spec.kind for spec in DEFAULT if STAGE_OF[spec.kind] == "tts"}
    for name in sorted(voices) if options.known else ():
        for word in " ".join(options.ready).split():
            word_sound(word, voice=voice_of(name), rate_hz=PHONE_HZ)
    async with _build_lab(load_schedules(schedule), options) as lab:
        pipe.send(lab.describe())
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
        await ended.wait()


def _build_lab(schedule: Mapping[str, Sequence[Window]], options: LabOptions) -> Lab:
    """Return a lab; with `known` or `text_only` it starts no recogniser."""
    early = options.delays == "quick"
    return Lab(
        options.instances,
        schedule=schedule,
        speed=options.speed,
        seed=options.seed,
        core=Core(
            steady=options.steady,
            tempos=TEMPOS[options.delays],
            word_by_word=bool(options.known),
            uncapped=options.uncapped,
            ears=KnownEars(options.known, early=early)
            if options.known or options.text_only
            else None,
        ),
        keep_audio=options.keep_audio,
    )


def check_recogniser() -> None:
    """Raise `CommandError` if the package for the lab's speech recognition is missing."""
    if not is_installed():
        raise CommandError(f"the lab's recogniser {NOT_INSTALLED}")


async def run_lab(*, faults: Path | None, speed: float) -> None:
    """Run the lab in this process until SIGINT or SIGTERM, and print its addresses."""
    check_recogniser()
    schedule = read_schedule(faults)
    stop = asyncio.Event()
    for item in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(item, stop.set)
    console = Console(soft_wrap=True, highlight=False)
    async with Lab(schedule=load_schedules(schedule), speed=speed) as lab:
        description = lab.describe()
        for item in description["instances"]:
            console.print(f"{item['name']:<12} {item['url']}  key {item['api_key']}")
        console.print(f"{'control':<12} {lab.control_url}  token {description['control']['token']}")
        await stop.wait()
