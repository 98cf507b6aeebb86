"""Reports the configuration of a process, and checks parts of it before the first call."""

import hashlib
from importlib.metadata import version
from typing import Final

from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.config.stages import STAGES, RungSettings
from bot.exits import UsageError
from bot.tools.owner import owner_tools
from calls.operations_events import ConfigurationLoaded
from providers.catalog import provider

ANY_RATE_HZ: Final = 8000  # for services that are built only as a check


def check_tools(settings: Settings) -> None:
    """Refuse to start with a tool that no call could use.

    Raises:
        UsageError: An entry point cannot be loaded.
    """
    for agent in settings.all_agents:
        try:
            owner_tools(agent.tools)
        except ValueError as broken:
            raise UsageError(f"agent {agent.name}: {broken}") from broken


def check_rungs(settings: Settings) -> None:
    """Refuse to start with a rung that cannot be built: it would end every call at its beginning.

    Builds each service once and drops it.

    Raises:
        UsageError: The configuration of a rung does not work.
    """
    for agent in settings.all_agents:
        for stage in STAGES:
            for index, rung in enumerate(getattr(settings.stages, stage)):
                try:
                    spec = rung_of(rung, stage, agent=agent, sample_rate_hz=ANY_RATE_HZ)
                    provider(stage, rung.kind).build(spec)
                except (TypeError, ValueError) as wrong:
                    said = str(wrong).partition("\n")[0]
                    where = f"stages.{stage}[{index}] ({rung.kind}, agent {agent.name})"
                    raise UsageError(f"{where}: {said}; correct {_in_doubt(rung)}") from wrong


def _in_doubt(rung: RungSettings) -> str:
    """Name the keys of a rung that may be wrong; the values of its options may be secret."""
    named = ["options." + option for option in rung.options]
    named += ["voice", "language"] if rung.voice else ["language"]
    return " or ".join(named)


def configuration_of(settings: Settings) -> ConfigurationLoaded:
    """Return the configuration as an event, without secrets."""
    text = settings.model_dump_json()  # secrets appear as stars
    return ConfigurationLoaded(
        version=version("holdline"),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
        agents=tuple(item.name for item in settings.all_agents),
        ladders=tuple(" ".join((stage, *rungs)) for stage, rungs in ladders(settings).items()),
    )


def ladders(settings: Settings) -> dict[str, list[str]]:
    """Return the rungs' names by stage, the preferred one first."""
    found: dict[str, list[str]] = {}
    for stage, rung in settings.stages.rungs():
        found.setdefault(stage, []).append(rung.name)
    return found


def local_rungs(settings: Settings) -> frozenset[str]:
    """Return the names of the rungs that run on this machine; names are unique over all stages."""
    return frozenset(rung.name for _, rung in settings.stages.rungs() if rung.kind == "local")
