"""`holdline doctor`: checks, before the first call, for anything that would make it fail."""

import asyncio
import errno
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bot.doctor.finding import SERVER_ANSWER_S, DoctorFinding, reach
from bot.doctor.promises import check_ladder, weaknesses_of
from bot.doctor.storage import check_share, check_storage
from bot.doctor.systems import check_systems
from bot.doctor.telephony import check_telephony
from bot.health.readiness_rules import Readiness
from bot.tools.owner_threads import in_thread
from calls.sentences import callers_get, cure_of, explain
from configuration.agent import AgentSettings
from configuration.alerts import missing_of
from configuration.carriers import CARRIERS
from configuration.database_urls import LOCAL
from configuration.folders import why_exposed
from configuration.machine import check_memory, worker_count
from configuration.rungs import LOCAL as LOCAL_KIND
from configuration.rungs import rung_of, why_not_built
from configuration.sections import near_address
from configuration.settings import ServerSettings, Settings
from configuration.stages import STAGES
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec
from runtime.exits import UsageError
from runtime.hosts import is_near

MIN_FREE_BYTES: Final = 500_000_000  # enough for a busy month of journals and logs
WRITTEN_BYTES: Final = 64 * 1024
BUILD_S: Final = 30.0  # for a service that loads models
PHONE_RATE_HZ: Final = 8000
MAX_READY_BYTES: Final = 4096  # of a response to `GET /readyz`; Holdline's has about 100


async def examine(settings: Settings, *, online: bool) -> AsyncIterator[DoctorFinding]:
    """Run all checks and yield their findings, the quick ones first.

    Args:
        settings: A validated configuration, so its keys are present.
        online: Also check that providers, carriers and other systems accept our keys. Otherwise no
            key is sent.
    """
    yield DoctorFinding(about="configuration", text="read, keys present", ok=True)
    yield _check_memory(settings)
    yield await _check_port(settings.server)
    yield await asyncio.to_thread(_check_folder, "logs.dir", settings.logs.dir)
    yield await check_storage(settings.storage.url)
    if settings.resilience.share != LOCAL:
        yield await check_share(settings.resilience.share)
    for finding in (
        *_check_public_url(settings),
        *_check_token(settings),
        *_check_alerts(settings),
        *_check_outbound(settings),
    ):
        yield finding
    for agent in settings.all_agents:
        for finding in _check_tools(agent):
            yield finding
    for finding in await _check_providers(settings, online=online):
        yield finding
    for finding in await check_telephony(settings, online=online):
        yield finding
    async for finding in check_systems(settings, online=online):
        yield finding


async def _check_providers(settings: Settings, *, online: bool) -> list[DoctorFinding]:
    """Check all providers in parallel; a failure's text also says what callers get instead."""
    rungs = [
        rung_of(rung, stage, agent=settings.agent, sample_rate_hz=PHONE_RATE_HZ)
        for stage, rung in settings.stages.rungs()
    ]
    if online:
        from bot.tools.owner import tool_schemas  # noqa: PLC0415 - Pipecat takes seconds

        tools = tool_schemas(settings.all_agents)
        rungs = [replace(rung, tools=tools) if rung.stage == "llm" else rung for rung in rungs]
    found = await asyncio.gather(*(_check_rung(rung, online=online) for rung in rungs))
    working = [rung for rung, finding in zip(rungs, found, strict=True) if finding.ok]
    findings: list[DoctorFinding] = []
    for rung, finding in zip(rungs, found, strict=True):
        stage = "" if rung.kind == LOCAL_KIND else rung.stage
        others = [other.name for other in working if other.stage == rung.stage]
        instead = "" if finding.ok else f"; {callers_get(others, settings.hold.steps, stage=stage)}"
        findings.append(
            replace(finding, text=f"{finding.text}{instead}{_describe_weak_promise(rung)}")
        )
    for stage in STAGES:
        ladder = [rung for rung in rungs if rung.stage == stage]
        findings += check_ladder(stage, ladder, settings.hold.steps)
    return findings


def _describe_weak_promise(rung: RungSpec) -> str:
    """Return what a rung promises if that is weaker than usual; else nothing."""
    return "".join(f"; {weak.text}: {weak.cure}" for weak in weaknesses_of(rung))


def _check_folder(about: str, directory: Path) -> DoctorFinding:
    """Check that a folder, or its first existing parent, can be written and has enough space."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(WRITTEN_BYTES))  # even a full disk has room for an empty file
            file.flush()
            os.fsync(file.fileno())
            free_bytes = shutil.disk_usage(existing).free
    except OSError as error:
        text = f"{directory} cannot be written: {error.strerror or error}"
        return DoctorFinding(about=about, text=text, ok=False)
    text = f"{directory} is writable, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < MIN_FREE_BYTES:
        text += f"; at least {MIN_FREE_BYTES / 1e9:.1f} GB are needed"
    return DoctorFinding(about=about, text=text, ok=free_bytes >= MIN_FREE_BYTES)


def _check_memory(settings: Settings) -> DoctorFinding:
    try:
        warning = check_memory(settings)
    except UsageError as refused:
        return DoctorFinding(about="memory", text=str(refused), ok=False)
    enough = f"enough for {worker_count(settings)} workers"
    return DoctorFinding(about="memory", text=warning or enough, ok=True)


def _check_public_url(settings: Settings) -> Iterator[DoctorFinding]:
    """Yield for each enabled carrier whether it can reach `public_url`; a simulated one can."""
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
        is_simulated = is_near(urlsplit(carrier.api_url).hostname or "")
        yield DoctorFinding(about=about, text=text, ok=is_simulated)


def _check_token(settings: Settings) -> Iterator[DoctorFinding]:
    if why := why_exposed(settings.server):
        yield DoctorFinding(about="HOLDLINE_TOKEN", text=why, ok=False)


def _check_alerts(settings: Settings) -> Iterator[DoctorFinding]:
    for text in missing_of(settings.alerts):
        yield DoctorFinding(about="alerts", text=text, ok=False)


def _check_outbound(settings: Settings) -> Iterator[DoctorFinding]:
    """Yield which numbers may be called, then each transfer destination that may not."""
    from campaigns.order_gate import rules_in, uncallable  # noqa: PLC0415 - needs the database's code
    from campaigns.order_rules import NOTHING_ALLOWED  # noqa: PLC0415

    rules = rules_in(settings)
    if rules.opened:
        allowed = ", ".join((*rules.countries, *rules.prefixes))
        yield DoctorFinding(about="outbound", text=f"numbers of {allowed} may be called", ok=True)
    else:
        yield DoctorFinding(about="outbound", text=NOTHING_ALLOWED, ok=not settings.campaigns)
    for key, text in uncallable(settings):
        yield DoctorFinding(about=key, text=text, ok=False)


def _check_tools(agent: AgentSettings) -> Iterator[DoctorFinding]:
    """Yield a finding for each Python tool, and for each HTTP tool that cannot be used."""
    from bot.tools.owner import made_tools  # noqa: PLC0415 - Pipecat takes seconds

    for about, made in made_tools(agent.tools, {}):
        wrong = made if isinstance(made, str) else ""
        if wrong or ":" in about:  # an HTTP tool without a problem is checked with `--online`
            yield DoctorFinding(about=f"tool {about}", text=wrong or "loads", ok=not wrong)


async def _check_rung(rung: RungSpec, *, online: bool) -> DoctorFinding:
    """Check that a rung can be built and reached; with `online`, also its key and model."""
    about = f"stages.{rung.stage} {rung.name}"
    if rung.kind == LOCAL_KIND:
        return await _check_local(about, rung)
    vendor = provider(rung.stage, rung.kind, rung.service)
    if rung.service and (reason := await _why_unbuilt(rung)):
        return DoctorFinding(about=about, text=f"it cannot be built: {reason}", ok=False)
    if rung.url:
        text, ok = await reach(rung.url)
    else:
        text, ok = f"{vendor.title}: --online asks it, as its address is its own", True
    if not ok or not online:
        return DoctorFinding(about=about, text=text, ok=ok)
    return await _check_key(about, rung)


async def _why_unbuilt(rung: RungSpec) -> str:
    """Return why a service cannot be built; its constructor may block, so it has a thread.

    One that takes longer than `BUILD_S` counts as a failure, and its thread is left running.
    """
    build = partial(why_not_built, rung)
    try:
        async with asyncio.timeout(BUILD_S):
            return await in_thread(build, threading.BoundedSemaphore())
    except TimeoutError:
        return f"its constructor has not ended after {BUILD_S:g} s"


async def _check_local(about: str, local: RungSpec) -> DoctorFinding:
    """Probe a local voice or recogniser, even without `--online`: nothing leaves the machine."""
    try:
        await provider(local.stage, local.kind).probe(local, timeout_s=SERVER_ANSWER_S)
    except ProbeFailedError as error:
        return DoctorFinding(about=about, text=str(error), ok=False)
    return DoctorFinding(about=about, text="runs in this process", ok=True)


async def _check_key(about: str, rung: RungSpec) -> DoctorFinding:
    """Send the cheap probe, which detects a wrong key, then the real one, which needs the model."""
    vendor = provider(rung.stage, rung.kind, rung.service)
    try:
        if vendor.facts.asks_cheaply:
            await vendor.probe(rung, timeout_s=SERVER_ANSWER_S)
        await vendor.probe_for_real(rung, timeout_s=SERVER_ANSWER_S)
    except ProbeFailedError as error:
        failure = error.failure(rung)
        text = explain(failure.kind, failure.reason, rung.vendor)
        return DoctorFinding(about=about, text=text, ok=False, cure=cure_of(failure.kind))
    text = (
        f"{urlsplit(rung.url).netloc or vendor.title} accepts the key, and {SUCCESSES[rung.stage]}"
    )
    return DoctorFinding(about=about, text=text, ok=True)


SUCCESSES: Final = {
    "stt": "the model recognises speech",
    "llm": "the model answers",
    "tts": "the voice speaks",
}
ABOUT_PORT: Final = "server.port"
# The fields of `GET /readyz`, which tell Holdline from another server.
READINESS_FIELDS: Final = frozenset(field_.name for field_ in fields(Readiness))


async def _check_port(server: ServerSettings) -> DoctorFinding:
    """Check whether the server could listen on its port.

    A Holdline server that already listens there is no problem, but the doctor cannot tell whether
    it runs this configuration. So the finding says that another start would fail.
    """
    where = f"{server.host}:{server.port}"
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((server.host, server.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and (found := await _read_readiness(server)) is not None:
            reasons = ", ".join(map(str, found["reasons"]))
            says = f"; GET /readyz says {reasons}" if reasons else ""
            whose = "is already used by Holdline, with this or another configuration"
            text = f"{where} {whose}; another start there would fail{says}"
            return DoctorFinding(about=ABOUT_PORT, text=text, ok=True)
        text = f"{where} cannot be bound: {error.strerror or error}"
        return DoctorFinding(about=ABOUT_PORT, text=text, ok=False)
    return DoctorFinding(about=ABOUT_PORT, text=f"{where} is free", ok=True)


async def _read_readiness(server: ServerSettings) -> dict[str, Any] | None:
    """Return what `GET /readyz` reports at this address; `None` if Holdline does not answer."""
    # aiohttp takes a while to import, and every command imports this module.
    import aiohttp  # noqa: PLC0415

    from runtime.http import parse_json, read_body  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(total=SERVER_ANSWER_S)
    url = f"{near_address(server.host, server.port)}/readyz"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            found = parse_json(await read_body(answer.content, most_bytes=MAX_READY_BYTES))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    is_holdline = (
        isinstance(found, dict)
        and found.keys() == READINESS_FIELDS
        and isinstance(found["reasons"], list)
    )
    return found if is_holdline else None
