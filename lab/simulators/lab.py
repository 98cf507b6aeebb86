"""The lab: simulated providers in one event loop, their faults and their record."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from lab.simulators.anthropic.simulator import AnthropicSimulator
from lab.simulators.aura.simulator import AuraSimulator
from lab.simulators.cartesia.simulator import CartesiaSimulator
from lab.simulators.control import Control
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.elevenlabs.simulator import ElevenLabsSimulator
from lab.simulators.faults import suggestion
from lab.simulators.gemini.simulator import GeminiSimulator
from lab.simulators.instance import Core, Instance
from lab.simulators.openai.like import OpenAILikeSimulator
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.recognisers.assemblyai import AssemblySimulator
from lab.simulators.recognisers.soniox import SonioxSimulator
from lab.simulators.record import SAMPLES_KEPT, Record
from lab.simulators.schedule import Window, load_schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A simulated provider to build.

    Attributes:
        name: Unique in the lab; its address in schedules and the control.
        kind: A key of `KINDS`.
        api_key: The accepted key; `None` for a random one.
        options: Further keyword arguments for its class.
        simulator: Its class, for a kind that is not in `KINDS`.
    """

    name: str
    kind: str
    api_key: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    simulator: type[Instance] | None = None


KINDS: Final[Mapping[str, type[Instance]]] = {
    item.kind: item
    for item in (
        DeepgramSimulator,
        SonioxSimulator,
        AssemblySimulator,
        OpenAISimulator,
        AnthropicSimulator,
        GeminiSimulator,
        CartesiaSimulator,
        ElevenLabsSimulator,
        AuraSimulator,
    )
}

DEFAULT: Final = (
    Spec(name="deepgram", kind="deepgram"),
    Spec(name="deepgram-b", kind="deepgram"),
    Spec(name="openai", kind="openai"),
    Spec(name="openai-b", kind="openai"),
    Spec(name="cartesia", kind="cartesia"),
    Spec(name="elevenlabs", kind="elevenlabs"),
)


def schedule_for(text: str) -> dict[str, tuple[Window, ...]]:
    """Parse a YAML fault schedule for a lab with the default instances.

    Raises:
        ValueError: Not YAML, a wrong key or value, or an unknown instance; one line.
    """
    schedule = load_schedules(text)
    known = {spec.name: spec for spec in DEFAULT}
    for name in schedule:
        if name not in known:
            raise ValueError(f"unknown instance {suggestion(name, known)}")
    return schedule


class Lab:
    """Simulated providers, started and stopped together: `async with Lab() as lab:`."""

    def __init__(
        self,
        instances: Sequence[Spec] = DEFAULT,
        *,
        schedule: Mapping[str, Sequence[Window]] | None = None,
        speed: float = 1.0,
        seed: int = 0,
        core: Core | None = None,
        keep_audio: bool = False,
    ) -> None:
        """Build the instances.

        Args:
            instances: The providers.
            schedule: Their faults, in seconds from the lab's start.
            speed: Divides every simulated delay.
            seed: Of all random numbers.
            core: Further shared parts of the instances, such as a certificate.
            keep_audio: Keep what the voices send, for `GET /audio`.

        Raises:
            ValueError: An unknown kind or option, a repeated name, or a schedule for an instance
                that does not exist; one line.
        """
        given = core or Core()
        self.record = Record()
        self.record.audio.limit = SAMPLES_KEPT if keep_audio else 0
        self._started_at_s = given.clock()
        own = {"record": self.record, "started_at": self._started_at_s, "speed": speed}
        self.instances = _build_all(instances, dataclasses.replace(given, seed=seed, **own))
        for name, windows in (schedule or {}).items():
            self.instance(name).set_faults(windows, since_lab_start=True)
        self.control = Control(self.instances, record=self.record)

    def instance(self, name: str) -> Instance:
        """Return the instance of that name.

        Raises:
            ValueError: There is none.
        """
        if name not in self.instances:
            raise ValueError(
                f"the lab has no instance {name!r}; it has {', '.join(self.instances)}"
            )
        return self.instances[name]

    @property
    def control_url(self) -> str:
        """The control's address; its bearer token is in `describe()`."""
        return self.control.url

    def describe(self) -> dict[str, Any]:
        """Return addresses and keys, for a program that uses the lab.

        `started_at_s` is on the lab's clock. On Linux all processes share the monotonic clock, so
        a client can compare the record's times with its own.
        """
        return {
            "started_at_s": self._started_at_s,
            "control": {"url": self.control.url, "token": self.control.token},
            "instances": [
                {
                    "name": instance.name,
                    "kind": instance.kind,
                    "url": instance.url,
                    "port": instance.server.port,
                    "api_key": instance.api_key,
                }
                for instance in self.instances.values()
            ],
        }

    async def __aenter__(self) -> Self:
        """Start everything; if a part fails to start, stop the others."""
        try:
            for instance in self.instances.values():
                await instance.start()
            await self.control.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def stop(self) -> None:
        """Stop everything, even after a partial start."""
        await self.control.stop()
        for instance in self.instances.values():
            await instance.stop()


def _build_all(specs: Sequence[Spec], core: Core) -> dict[str, Instance]:
    """Make all simulators, by name; raise `ValueError` if two have the same one."""
    built: dict[str, Instance] = {}
    for spec in specs:
        if spec.name in built:
            raise ValueError(f"the lab has two instances named {spec.name!r}")
        built[spec.name] = _make_instance(spec, core)
    return built


def _make_instance(spec: Spec, core: Core) -> Instance:
    """Make the simulator that a spec names; raise `ValueError` for an unknown kind."""
    if spec.simulator is None and spec.kind not in KINDS:
        raise ValueError(f"{spec.name}: kind is {spec.kind!r}; it takes {', '.join(KINDS)}")
    like = OpenAILikeSimulator if "like" in spec.options else None
    cls = like or spec.simulator or KINDS[spec.kind]
    return cls(spec.name, api_key=spec.api_key, core=core, **spec.options)
