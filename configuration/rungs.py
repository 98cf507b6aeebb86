"""Turns the settings of rungs into the specifications from which services are built."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from calls.sentences import Vendor, Vendors
from configuration.agent import AgentSettings, system_text
from configuration.errors import MASK
from configuration.settings import Settings
from configuration.stages import RungSettings
from configuration.texts import DETECTED
from providers.catalog import provider
from providers.facts import RungFacts
from providers.provider import RungSpec, Stage
from runtime.exits import error_text

SERVER_URL: Final = re.compile(r"(?:https?|wss?)://[^/\s]")
LOCAL: Final = "local"  # the kind and the name of the local voice
TITLES: Final = {
    "livekit": "LiveKit",
    "email": "The mail server",
    "telegram": "Telegram",
    "webhook": "The webhook for alerts",
}
CHANNEL_KEYS: Final = {
    "email": "EMAIL_PASSWORD",
    "telegram": "TELEGRAM_BOT_TOKEN",
    "webhook": "WEBHOOK_URL",
}


def rung_of(
    settings: RungSettings,
    stage: Stage,
    *,
    agent: AgentSettings,
    sample_rate_hz: int,
    shared: Any = None,
) -> RungSpec:
    """Return the specification of a rung for a leg and an agent.

    `shared` is what all calls on this rung share, from `Provider.share`; `None` for nothing.
    """
    facts, vendor = facts_of(settings, stage), provider(stage, settings.kind, settings.service)
    return RungSpec(
        name=settings.name,
        stage=stage,
        kind=settings.kind,
        url=_url_of(settings) or vendor.url,
        sample_rate_hz=sample_rate_hz,
        language=settings.language or language_for_stage(agent.language, stage),
        model=settings.model,
        voice=settings.voice,
        api_key=settings.api_key.get_secret_value() if settings.api_key else "",
        vendor=vendor_of(settings, stage),
        timeout_s=settings.timeout_s,
        options=settings.settings or settings.options,
        facts=facts,
        service=vendor.service,
        init=settings.init,
        rate_hz=settings.rate_hz or facts.rate_hz(sample_rate_hz),
        alternatives=getattr(settings, "alternatives", 1),
        shared=shared,
        instructions=system_text(agent) if stage == "llm" else "",
    )


def why_not_built(rung: RungSpec) -> str:
    """Return why a rung's service cannot be built, without the key; empty if it can be built.

    The constructor of another's service may raise anything; ours raise errors of values only, and
    any other error of ours is raised. The service that is built is dropped.
    """
    try:
        provider(rung.stage, rung.kind, rung.service).build(rung)
    except Exception as wrong:
        if not rung.service and not isinstance(wrong, TypeError | ValueError):
            raise
        reason = error_text(wrong)
        return reason.replace(rung.api_key, MASK) if rung.api_key else reason
    return ""


def facts_of(settings: RungSettings, stage: Stage) -> RungFacts:
    """Return what a rung's service can do; what its configuration states goes first."""
    facts = provider(stage, settings.kind, settings.service).facts
    return replace(facts, **settings.facts)


def vendor_id(settings: RungSettings, stage: Stage) -> str:
    """Return a name that all rungs of a vendor share, whatever their kinds."""
    return provider(stage, settings.kind, settings.service).title.lower()


def other_voices(voices: Sequence[RungSettings]) -> frozenset[str]:
    """Return the names of voices that sound different from the first one.

    These are the rungs with another kind, service or voice, and the local voice unless that is the
    first one.
    """
    first = {(rung.kind, rung.service, rung.voice) for rung in voices[:1]}
    others = {rung.name for rung in voices if (rung.kind, rung.service, rung.voice) not in first}
    return frozenset(others if (LOCAL, "", None) in first else {*others, LOCAL})


def vendor_of(settings: RungSettings, stage: Stage) -> Vendor:
    """Return a rung's vendor and the variable with its key.

    The vendor is named only if the server is its own, or a simulated one. Of several rungs of one
    kind, those with another name are named.
    """
    vendor = provider(stage, settings.kind, settings.service)
    name, place = settings.name, f"stages.{stage} {settings.name}"
    url = _url_of(settings)
    if vendor.serves(url, name):
        is_named = settings.is_one_of_several and name != settings.kind
        shared, title = vendor.title, f"{vendor.title} ({name})" if is_named else vendor.title
    else:
        shared = urlsplit(url).netloc.rpartition("@")[2]
        title = f"{name} ({shared})"
    key = settings.api_key_env or vendor.key_env or place
    return Vendor(title=title, key=key, place=place, name=shared)


def _url_of(settings: RungSettings) -> str:
    """Return the configured URL of a rung's server, perhaps an argument of a Pipecat service.

    Empty for the vendor's usual one.
    """
    texts = (value for value in settings.init.values() if isinstance(value, str))
    return settings.url or next((text for text in texts if SERVER_URL.match(text)), "")


def vendors_of(settings: Settings) -> Vendors:
    """Return the vendors of all rungs and of other systems that may fail, by stage and name."""
    rungs: dict[tuple[str, str], Vendor] = {
        (stage, rung.name): vendor_of(rung, stage) for stage, rung in settings.stages.rungs()
    }
    keys = {
        "twilio": settings.transports.twilio.auth_token_env,
        "telnyx": settings.transports.telnyx.api_key_env,
        "plivo": settings.transports.plivo.auth_token_env,
        "exotel": settings.transports.exotel.api_token_env,
        "livekit": settings.transports.livekit.api_secret_env,
    }
    carriers = {
        (stage, name): Vendor(
            title=TITLES.get(name, name.title()), key=key, place=f"transports.{name}"
        )
        for name, key in keys.items()
        for stage in ("dial", "transport")
    }
    channels = {
        ("alert", name): Vendor(title=TITLES[name], key=key, place=f"alerts.{name}")
        for name, key in CHANNEL_KEYS.items()
    }
    crm, sheets = settings.crm, settings.sheets
    return (
        rungs
        | carriers
        | channels
        | {
            ("crm", crm.kind): Vendor(title=f"The CRM {crm.kind}", key=crm.token_env, place="crm"),
            ("sheets", "google"): Vendor(
                title="Google Sheets", key=sheets.credentials_file_env, place="sheets"
            ),
        }
    )


def language_for_stage(language: str, stage: Stage) -> str:
    """Return an agent's language for a stage; `en` for `multi`, which only recognisers accept."""
    return "en" if language == DETECTED and stage != "stt" else language


def follows_caller(settings: RungSettings, agent: AgentSettings) -> bool:
    """Return whether a voice changes to the caller's language.

    It does if the agent detects the language, unless the rung sets one.
    """
    return agent.language == DETECTED and settings.language is None
