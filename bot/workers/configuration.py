"""What a process says of its configuration, and what of it must hold before the first call."""

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

ANY_RATE_HZ: Final = 8000  # of sound that nobody will hear


def check_tools(settings: Settings) -> None:
    """Refuse to open with a tool that no call could use.

    Raises:
        UsageError: An entry point cannot be loaded; one line.
    """
    for agent in (settings.agent, *settings.agents.values()):
        try:
            owner_tools(agent.tools)
        except ValueError as broken:
            raise UsageError(f"agent {agent.name}: {broken}") from broken


def check_rungs(settings: Settings) -> None:
    """Refuse to open with a rung that cannot be made: it would end every call at its beginning.

    Each service is made once, and let go.

    Raises:
        UsageError: One cannot be made as it is configured; one line.
    """
    for agent in (settings.agent, *settings.agents.values()):
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
    """Name what of a rung may be wrong; what its options say may be secret."""
    named = ["options." + option for option in rung.options]
    named += ["voice", "language"] if rung.voice else ["language"]
    return " or ".join(named)


def configuration_of(settings: Settings) -> ConfigurationLoaded:
    """Return by what calls are answered; secrets have no part in it."""
    text = settings.model_dump_json()  # secrets are stars in it
    return ConfigurationLoaded(
        version=version("holdline"),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
        agents=tuple(item.name for item in (settings.agent, *settings.agents.values())),
        ladders=tuple(" ".join((stage, *rungs)) for stage, rungs in ladders(settings).items()),
    )


def ladders(settings: Settings) -> dict[str, list[str]]:
    """Return the rungs' names by stage, the preferred one first."""
    found: dict[str, list[str]] = {}
    for stage, rung in settings.stages.rungs():
        found.setdefault(stage, []).append(rung.name)
    return found


def local_rungs(settings: Settings) -> frozenset[str]:
    """Return the names of the rungs that run on this machine; no two of all share a name."""
    return frozenset(rung.name for _, rung in settings.stages.rungs() if rung.kind == "local")
