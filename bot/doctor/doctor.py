"""`holdline doctor`: checks, before the first call, whatever could stop it."""

import asyncio
import importlib
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.config.agent import AgentSettings
from bot.config.alerts import missing_of
from bot.config.carriers import CARRIERS
from bot.config.checks import is_near
from bot.config.folders import why_exposed
from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.config.share_address import LOCAL
from bot.doctor.findings import DoctorFinding, port_finding, storage_finding
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec

ANSWER_S: Final = 5.0  # a server that takes longer to accept is useless for a call
LEAST_FREE_BYTES: Final = 500_000_000  # ample for a busy month of journals and logs
PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}
PHONE_RATE_HZ: Final = 8000


async def examine(settings: Settings, *, online: bool) -> AsyncIterator[DoctorFinding]:
    """Yield a finding for each check, the quick ones first.

    Args:
        settings: An accepted configuration, so its keys are present.
        online: Also ask each provider whether it accepts the key. Otherwise no key is sent.
    """
    yield DoctorFinding(about="configuration", text="read, keys present", ok=True)
    yield await port_finding(settings.server)
    yield _disk("logs.dir", settings.logs.dir)
    yield await storage_finding(settings.storage.url)
    if settings.resilience.share != LOCAL:
        # SQLAlchemy takes a while to import, and every command imports this module.
        from bot.doctor.findings import share_finding  # noqa: PLC0415

        yield await share_finding(settings.resilience.share)
    for finding in (*_public_url(settings), *_token(settings), *_alerts(settings)):
        yield finding
    for agent in (settings.agent, *settings.agents.values()):
        for finding in _tools(agent):
            yield finding
    answers = [
        _answers(
            rung_of(rung, stage, agent=settings.agent, sample_rate_hz=PHONE_RATE_HZ),
            key_env=rung.api_key_env,
            online=online,
        )
        for stage, rung in settings.stages.rungs()
    ]
    for finding in await asyncio.gather(*answers):
        yield finding


def _disk(about: str, directory: Path) -> DoctorFinding:
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free_bytes = shutil.disk_usage(existing).free
    except OSError as error:
        text = f"{directory} cannot be written: {error.strerror or error}"
        return DoctorFinding(about=about, text=text, ok=False)
    text = f"{directory} is writable, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < LEAST_FREE_BYTES:
        text += f"; at least {LEAST_FREE_BYTES / 1e9:.1f} GB are needed"
    return DoctorFinding(about=about, text=text, ok=free_bytes >= LEAST_FREE_BYTES)


def _public_url(settings: Settings) -> Iterator[DoctorFinding]:
    url = settings.server.public_url
    parts = urlsplit(url)
    about = "server.public_url"
    transports = settings.transports
    for name in ("twilio", *CARRIERS):
        carrier = getattr(transports, name)
        if not carrier.enabled:
            continue
        if parts.scheme == "https" and parts.hostname and not is_near(parts.hostname):
            text = f"{url} can be {name.title()}'s webhook"
            yield DoctorFinding(about=about, text=text, ok=True)
            continue
        text = f"{url} cannot be reached by {name.title()}, which needs https on a public name"
        at_home = is_near(urlsplit(carrier.api_url).hostname or "")  # a simulated carrier
        yield DoctorFinding(about=about, text=text, ok=at_home)


def _token(settings: Settings) -> Iterator[DoctorFinding]:
    if why := why_exposed(settings.server):
        yield DoctorFinding(about="HOLDLINE_TOKEN", text=why, ok=False)


def _alerts(settings: Settings) -> Iterator[DoctorFinding]:
    for text in missing_of(settings.alerts):
        yield DoctorFinding(about="alerts", text=text, ok=False)


def _tools(agent: AgentSettings) -> Iterator[DoctorFinding]:
    for tool in agent.tools:
        if tool.entry_point is None:
            continue
        about = f"tool {tool.entry_point}"
        module, _, name = tool.entry_point.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001 - the owner's module may raise anything
            said = f"cannot be loaded: {type(error).__name__}: {error}"
            yield DoctorFinding(about=about, text=said, ok=False)
            continue
        text = "loads" if callable(found) else "is not a function"
        yield DoctorFinding(about=about, text=text, ok=callable(found))


async def _answers(rung: RungSpec, *, key_env: str | None, online: bool) -> DoctorFinding:
    about = f"stages.{rung.stage} {rung.name}"
    if not rung.url:
        return await _runs_here(about, rung)
    parts = urlsplit(rung.url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    secure = ssl.create_default_context() if parts.scheme in ("wss", "https") else None
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(host, port, ssl=secure)
    except TimeoutError:
        text = f"{host}:{port} did not answer within {ANSWER_S:g} s"
        return DoctorFinding(about=about, text=text, ok=False)
    except (OSError, UnicodeError) as error:
        text = f"{host}:{port} does not answer: {_reason(error)}"
        return DoctorFinding(about=about, text=text, ok=False)
    writer.close()
    if not online:
        return DoctorFinding(about=about, text=f"{host}:{port} answers", ok=True)
    return await _accepts(about, rung, key_env=key_env)


async def _runs_here(about: str, local: RungSpec) -> DoctorFinding:
    """Probe a local voice or recogniser; this sends nothing, so it needs no `--online`."""
    try:
        await provider(local.stage, local.kind).probe(local, timeout_s=ANSWER_S)
    except ProbeFailedError as error:
        return DoctorFinding(about=about, text=str(error), ok=False)
    return DoctorFinding(about=about, text="runs in this process", ok=True)


async def _accepts(about: str, asked: RungSpec, *, key_env: str | None) -> DoctorFinding:
    try:
        await provider(asked.stage, asked.kind).probe(asked, timeout_s=ANSWER_S)
    except ProbeFailedError as error:
        return DoctorFinding(about=about, text=f"{error} (key from {key_env})", ok=False)
    return DoctorFinding(about=about, text=f"{urlsplit(asked.url).netloc} accepts the key", ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text is `Connect call failed (…)`
    return getattr(error, "strerror", None) or str(error)
