"""Whose ladders a batch command uses: those that are configured, else those of a running demo."""

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import ValidationError

from bot.config.checks import is_loopback
from bot.config.errors import ConfigError
from bot.config.loading import load
from bot.config.settings import Settings
from bot.health.operator_desk import DEMO, addresses
from providers.catalog import provider
from providers.provider import Stage

ANSWER_S: Final = 5.0
MOST_BYTES: Final = 1 << 20  # of an answer; a demo's has some kB, and who is there is not known yet


def configured(config: Path | None, stage: Stage) -> tuple[Settings, ConfigError | None]:
    """Return the configuration, and what keeps its ladder of this stage from being used.

    The keys of other stages are not needed.

    Raises:
        ConfigError: Something else is wrong with it.
    """
    settings = load(config, keys=False).settings
    if not _lacks_keys(settings, stage):
        return settings, None
    try:
        return load(config).settings, None
    except ConfigError as wrong:
        own = [each for each in wrong.problems if each.key[:2] == ("stages", stage)]
        return settings, ConfigError(own or wrong.problems)


def has_no_key(settings: Settings, stage: Stage) -> bool:
    """Say whether nobody has given this ladder anything to work with."""
    return all(_lacks_key(stage, each) for of, each in settings.stages.rungs() if of == stage)


async def demo_beside(settings: Settings) -> tuple[str, Settings] | None:
    """Return where a demo runs on this machine and its ladders, all of them simulated."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for place in dict.fromkeys((*addresses(settings.server), DEMO)):
            if not is_loopback(urlsplit(place).hostname or ""):
                continue
            try:
                async with session.get(f"{place}/api/lab/stages", allow_redirects=False) as answer:
                    stages = await _read(answer) if answer.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
                continue
            if found := _simulated(stages):
                return place, found
    return None


async def _read(answer: aiohttp.ClientResponse) -> Any:
    """Return the JSON of an answer; None: it is too long for what is asked."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    return json.loads(body)


def _simulated(stages: Any) -> Settings | None:
    """Return settings of these ladders; None if anything of them is not on this machine.

    Who else listens at the demo's usual port must not be able to send a recording elsewhere.
    """
    try:
        found = Settings.model_validate({"stages": stages})
    except ValidationError:
        return None
    hosts = [urlsplit(each.url).hostname or "" for _, each in found.stages.rungs()]
    return found if all(map(is_loopback, hosts)) else None


def _lacks_keys(settings: Settings, stage: Stage) -> bool:
    return any(_lacks_key(stage, each) for of, each in settings.stages.rungs() if of == stage)


def _lacks_key(stage: Stage, rung: Any) -> bool:
    return provider(stage, rung.kind).key_env is not None and rung.api_key is None
