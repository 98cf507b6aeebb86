"""Checks that concern more than one value: names, addresses, keys, transports."""

import base64
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from bot.config import share_address
from bot.config import storage as config_storage
from bot.config.errors import Key, Problem, dotted, nearest, shown, without_secrets
from bot.config.layers import Layers, says_yes
from bot.config.stages import STAGES
from providers.catalog import kinds, provider
from providers.provider import Provider, Stage

PLAIN: Final = ("ws", "http")
FAR: Final = "is not a loopback or private address"  # names may resolve to any
NOWHERE: Final = (None, "none", "own")  # CRM kinds to which nothing is sent
LEAST_TOKEN: Final = 16  # characters; so many random ones cannot be guessed


def is_loopback(host: str) -> bool:
    """Return whether a server on this host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_short(token: str) -> bool:
    """Return whether a token is short enough to be guessed."""
    return len(token) < LEAST_TOKEN


def is_near(host: str) -> bool:
    """Return whether this host is this machine or is on a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    return address.is_loopback or address.is_private or address.is_link_local


def check(layers: Layers) -> Iterator[Problem]:
    """Yield a problem for each broken rule of the merged configuration."""
    yield from _stages(layers)
    yield from _server(layers)
    yield from _numbers(layers)
    yield from _tools(layers)
    yield from _registers(layers)
    yield from _share(layers)
    yield from _storage(layers)
    yield from _telnyx(layers)
    yield from _telnyx_dials(layers)
    yield from _campaigns(layers)
    yield from _callbacks(layers)
    yield from _models(layers)
    for key in (("prices", "file"), ("hold", "utterances")):
        file = layers.at(key)
        if isinstance(file, str) and not _is_file(file):
            yield _problem(layers, key, f"is {shown(file)}; there is no such file")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # the name is too long, or its folder is not accessible
        return False


def _share(layers: Layers) -> Iterator[Problem]:
    key: Key = ("resilience", "share")
    share = layers.at(key)
    if isinstance(share, str) and (text := share_address.trouble(share)):
        yield _problem(layers, key, f'is "{share_address.masked(share)}"; {text}')


def _storage(layers: Layers) -> Iterator[Problem]:
    key: Key = ("storage", "url")
    url = layers.at(key)
    if isinstance(url, str) and (text := config_storage.trouble(url)):
        yield _problem(layers, key, f'is "{share_address.masked(url)}"; {text}')


def _campaigns(layers: Layers) -> Iterator[Problem]:
    agents, campaigns = layers.at(("agents",)), layers.at(("campaigns",))
    known = list(agents) if isinstance(agents, dict) else []
    for name, campaign in campaigns.items() if isinstance(campaigns, dict) else ():
        agent = campaign.get("agent") if isinstance(campaign, dict) else None
        if isinstance(agent, str) and agent and agent not in known:
            text = f"is {shown(agent)}, which is not one of `agents`: {', '.join(known) or 'none'}"
            yield _problem(
                layers, ("campaigns", name, "agent"), f"{text}; leave it out to use `agent`"
            )


def _callbacks(layers: Layers) -> Iterator[Problem]:
    key: Key = ("callbacks", "campaign")
    name, campaigns = layers.at(key), layers.at(("campaigns",))
    known = list(campaigns) if isinstance(campaigns, dict) else []
    if isinstance(name, str) and name and name not in known:
        text = f"is {shown(name)}, which is not one of `campaigns`: {', '.join(known) or 'none'}"
        yield _problem(layers, key, f"{text}; leave it out if your staff calls back")


def _models(layers: Layers) -> Iterator[Problem]:
    """Check that `after_call.models` names existing rungs."""
    rungs, models = layers.at(("stages", "llm")), layers.at(("after_call", "models"))
    known = [
        rung.get("name", rung.get("kind"))
        for rung in (rungs if isinstance(rungs, list) else ())
        if isinstance(rung, dict)
    ]
    for name in models if isinstance(models, dict) and known else ():
        if name not in known:
            text = f"is not a rung of stages.llm: {', '.join(map(str, known))}"
            yield _problem(layers, ("after_call", "models", name), text)


def _telnyx(layers: Layers) -> Iterator[Problem]:
    """Check the account's public key, which verifies webhooks."""
    key: Key = ("transports", "telnyx", "public_key")
    held = layers.at(key)
    enabled = says_yes(layers.at((*key[:-1], "enabled")))
    if enabled and isinstance(held, str) and not _is_ed25519(held):
        name = layers.at((*key[:-1], "public_key_env")) or "TELNYX_PUBLIC_KEY"
        text = f"names {name}, which is not an Ed25519 key of 32 bytes in base64"
        cure = "copy the public key from the portal, under Keys & Credentials"
        yield _problem(layers, (*key[:-1], "public_key_env"), f"{text}; {cure}")


def _telnyx_dials(layers: Layers) -> Iterator[Problem]:
    """Check that outbound calls have a number to show."""
    section: Key = ("transports", "telnyx")
    enabled = says_yes(layers.at((*section, "enabled")))
    if enabled and layers.at((*section, "connection_id")) and not layers.at((*section, "number")):
        text = "is missing, and connection_id is set; give one of the account's numbers, such as"
        yield _problem(layers, (*section, "number"), f"{text} +15005550006")


def _is_ed25519(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def _problem(layers: Layers, key: Key, text: str) -> Problem:
    return Problem(where=layers.where(key), text=f"{dotted(key)} {text}", key=key)


def _stages(layers: Layers) -> Iterator[Problem]:
    names: dict[str, Key] = {}
    for stage in STAGES:
        rungs = layers.at(("stages", stage))
        for index, rung in enumerate(rungs if isinstance(rungs, list) else ()):
            if not isinstance(rung, dict):
                continue
            key: Key = ("stages", stage, index)
            yield from _rung(layers, key, stage=stage, rung=rung)
            name = rung.get("name", rung.get("kind"))
            if isinstance(name, str) and name in names:
                text = f"is {shown(name)}, like {dotted(names[name])}; give each rung its own name"
                yield _problem(layers, (*key, "name"), text)
            elif isinstance(name, str):
                names[name] = key


def _rung(layers: Layers, key: Key, *, stage: Stage, rung: dict[str, Any]) -> Iterator[Problem]:
    kind, known = rung.get("kind"), kinds(stage)
    if kind not in known:
        close = nearest(kind, known) if isinstance(kind, str) else None
        guess = f'did you mean "{close}"? ' if close else ""
        held = "is missing" if kind is None else f"is {shown(kind)}"
        yield _problem(layers, (*key, "kind"), f"{held}; {guess}({', '.join(known)})")
        return
    vendor = provider(stage, str(kind))
    if vendor.key_env and not rung.get("api_key_env") and not rung.get("api_key"):
        text = f"is missing; name the variable that holds the key, such as {vendor.key_env}"
        yield _problem(layers, (*key, "api_key_env"), text)
    url = rung.get("url")
    if isinstance(url, str) and (text := _url_trouble(url, vendor, insecure=rung.get("insecure"))):
        yield _problem(layers, (*key, "url"), f"is {shown(url)}; {text}")


def _url_trouble(url: str, vendor: Provider, *, insecure: object) -> str | None:
    if not vendor.schemes:
        return f"a rung of kind {vendor.kind} takes no url" if url else None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in vendor.schemes or not host:
        schemes = " or ".join(f"{scheme}://…" for scheme in vendor.schemes)
        return f"it must be {schemes}, such as {vendor.url}"
    if parts.scheme in PLAIN and not says_yes(insecure) and not is_near(host):
        return (
            f"plain {parts.scheme} carries the key unencrypted, and {shown(host)} {FAR}; "
            f"use {vendor.schemes[0]} or set insecure: true"
        )
    return None


def _server(layers: Layers) -> Iterator[Problem]:
    host, token = layers.at(("server", "host")), layers.at(("server", "token"))
    if not isinstance(host, str) or is_loopback(host):
        return
    if token and is_short(str(token)):
        text = (
            f"has {len(str(token))} characters, and others can reach {shown(host)}; "
            f"HOLDLINE_TOKEN must have at least {LEAST_TOKEN}, for example: openssl rand -hex 24"
        )
        yield _problem(layers, ("server", "token"), text)
    if not token:
        text = (
            f"is {shown(host)}, which others can reach, and HOLDLINE_TOKEN is not set; "
            "set it in the environment or .env, or listen on 127.0.0.1"
        )
        yield _problem(layers, ("server", "host"), text)


def _tools(layers: Layers) -> Iterator[Problem]:
    agents = layers.at(("agents",))
    names = agents if isinstance(agents, dict) else ()
    owners: list[Key] = [("agent",), *(("agents", str(name)) for name in names)]
    for owner in owners:
        tools = layers.at((*owner, "tools"))
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            yield from _bare(layers, (*owner, "tools", index, "url"), tool, "what callers say")


def _registers(layers: Layers) -> Iterator[Problem]:
    crm, transfer = layers.at(("crm",)), layers.at(("transfer",))
    if layers.at(("crm", "kind")) not in NOWHERE:
        yield from _bare(layers, ("crm", "url"), crm, "what callers say and the key")
    yield from _bare(layers, ("transfer", "webhook_url"), transfer, "what callers say")


def _bare(layers: Layers, key: Key, section: object, carried: str) -> Iterator[Problem]:
    """Yield a problem if a section's URL is sent unencrypted, unless the section allows it."""
    given = cast("dict[str, object]", section) if isinstance(section, dict) else {}
    url = given.get(str(key[-1]))
    if isinstance(url, str) and (host := _bare_host(url)) and not says_yes(given.get("insecure")):
        text = (
            f"is {shown(url)}; plain http carries {carried} unencrypted, and {shown(host)} {FAR}; "
            "use https or set insecure: true"
        )
        yield _problem(layers, key, text)


def _bare_host(url: str) -> str:
    """Return the host if requests to this URL are readable on their way, or ""."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # reported elsewhere
    host = parts.hostname or ""
    return host if parts.scheme in PLAIN and host and not is_near(host) else ""


def _numbers(layers: Layers) -> Iterator[Problem]:
    agents = layers.at(("agents",))
    taken: dict[str, str] = {}
    for name, agent in agents.items() if isinstance(agents, dict) else ():
        numbers = agent.get("numbers") if isinstance(agent, dict) else None
        for index, number in enumerate(numbers if isinstance(numbers, list) else ()):
            digits = "".join(item for item in str(number) if item.isdigit())
            if digits in taken:
                text = f"is {without_secrets(str(number))}, which agents.{taken[digits]} answers"
                yield _problem(layers, ("agents", name, "numbers", index), f"{text} already")
            taken[digits] = name
