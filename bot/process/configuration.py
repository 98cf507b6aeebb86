"""What a process says of its configuration, and what of it must hold before the first call."""

import hashlib
from importlib.metadata import version

from bot.config.settings import Settings
from bot.exits import UsageError
from bot.tools.owner import owner_tools
from calls.house_events import ConfigurationLoaded


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


def configuration_of(settings: Settings) -> ConfigurationLoaded:
    """Return by what calls are answered; secrets have no part in it."""
    text = settings.model_dump_json()  # secrets are stars in it
    return ConfigurationLoaded(
        version=version("holdline"),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
        agents=tuple(each.name for each in (settings.agent, *settings.agents.values())),
        ladders=tuple(" ".join((stage, *rungs)) for stage, rungs in ladders(settings).items()),
    )


def ladders(settings: Settings) -> dict[str, list[str]]:
    """Return the rungs' names by stage, the preferred one first."""
    found: dict[str, list[str]] = {}
    for stage, rung in settings.stages.rungs():
        found.setdefault(stage, []).append(rung.name)
    return found
