"""Summarises the configuration of a process, and checks its tools and rungs before any call."""

import hashlib
from importlib.metadata import version
from typing import Final

from bot.tools.owner import owner_tools
from calls.operations_events import ConfigurationLoaded
from configuration.rungs import facts_of, rung_of, why_not_built
from configuration.settings import Settings
from configuration.stages import STAGES, RungSettings
from runtime.exits import UsageError

ANY_RATE_HZ: Final = 8000  # for services that are built only as a check


def check_tools(settings: Settings) -> None:
    """Load all tools, so that a broken one stops the start and not a call; blocks.

    Imports the owner's modules.

    Raises:
        UsageError: A tool's entry point cannot be loaded.
    """
    for agent in settings.all_agents:
        try:
            owner_tools(agent.tools)
        except ValueError as broken:
            raise UsageError(f"agent {agent.name}: {broken}") from broken


def check_rungs(settings: Settings) -> None:
    """Build each rung's service once for each agent, and drop it; blocks.

    So a broken one stops the start and not every call.

    Raises:
        UsageError: A service cannot be built from its rung's configuration.
    """
    for agent in settings.all_agents:
        for stage in STAGES:
            for index, rung in enumerate(getattr(settings.stages, stage)):
                spec = rung_of(rung, stage, agent=agent, sample_rate_hz=ANY_RATE_HZ)
                if reason := why_not_built(spec):
                    where = f"stages.{stage}[{index}] ({rung.kind}, agent {agent.name})"
                    raise UsageError(f"{where}: {reason}; correct {_suspect_keys(rung)}")


def _suspect_keys(rung: RungSettings) -> str:
    """Return the keys of a rung that may be wrong, without their values, which may be secret."""
    keys = ["options." + option for option in rung.options]
    keys += ["init." + name for name in rung.init] + ["settings." + name for name in rung.settings]
    keys += ["rate_hz"] if rung.rate_hz else []
    keys += ["voice", "language"] if rung.voice else ["language"]
    keys += ["the service itself"] if rung.service else []
    return " or ".join(keys)


def configuration_of(settings: Settings) -> ConfigurationLoaded:
    """Return an event with the version, the configuration's digest, the agents and the ladders."""
    text = settings.model_dump_json()  # secrets are masked
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
    rungs = settings.stages.rungs()
    return frozenset(rung.name for stage, rung in rungs if facts_of(rung, stage).is_local)
