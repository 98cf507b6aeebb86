"""Checks that concern more than one value: names, addresses, keys, transports."""

import base64
import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bot.config.database_urls import masked, share_trouble, storage_trouble
from bot.config.errors import Key, Problem, dotted, nearest, shown, without_secrets
from bot.config.layers import Layers, says_yes
from bot.config.stages import STAGES
from bot.hosts import is_loopback
from calls.outside_text import placeholders
from providers.catalog import PROVIDERS, kinds, provider
from providers.provider import Provider, Stage

PLAIN: Final = ("ws", "http")
FAR: Final = "is not a loopback or private address"  # host names count as public
NOWHERE: Final = (None, "none", "own")  # CRM kinds to which nothing is sent
SPOKEN: Final = (  # an agent's own words, in addition to its questions to a silent caller
    ("greeting",), ("disclosure",), ("resumed",), ("farewell",),
    ("recording", "notice"), ("silence", "goodbye"),
)  # fmt: skip
UNFILLED: Final = (
    "take it out (the crm fills only greetings, a contact's row fills only a campaign's texts)"
)
MIN_TOKEN: Final = 16  # characters; that many random ones cannot be guessed


def is_short(token: str) -> bool:
    """Return whether a token is short enough to be guessed."""
    return len(token) < MIN_TOKEN


def is_near(host: str) -> bool:
    """Return whether this host is this machine or an address in a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    return address.is_loopback or address.is_private or address.is_link_local


def check(layers: Layers) -> Iterator[Problem]:
    """Yield a problem for each broken rule of the merged configuration."""
    for rule in RULES:
        yield from rule(layers)


def agents_in(layers: Layers) -> Iterator[Key]:
    """Yield the key of each agent's section."""
    yield ("agent",)
    yield from (key for key, _ in layers.inside(("agents",), dict))


def _stages(layers: Layers) -> Iterator[Problem]:
    names: dict[str, Key] = {}
    for stage in STAGES:
        for key, rung in layers.inside(("stages", stage), list):
            if not isinstance(rung, dict):
                continue
            yield from _rung(layers, key, stage=stage, rung=rung)
            name = rung.get("name", rung.get("kind"))
            if isinstance(name, str) and name in names:
                text = f"is {shown(name)}, like {dotted(names[name])}; give each rung its own name"
                yield layers.problem((*key, "name"), text)
            elif isinstance(name, str):
                names[name] = key


def _rung(layers: Layers, key: Key, *, stage: Stage, rung: dict[str, Any]) -> Iterator[Problem]:
    kind, known = rung.get("kind"), kinds(stage)
    if kind not in known:
        close = nearest(kind, known) if isinstance(kind, str) else None
        guess = f'did you mean "{close}"? ' if close else ""
        held = "is missing" if kind is None else f"is {shown(kind)}"
        yield layers.problem((*key, "kind"), f"{held}; {guess}({', '.join(known)})")
        return
    vendor = provider(stage, str(kind))
    url = rung.get("url")
    if isinstance(url, str) and (text := _url_trouble(url, vendor, insecure=rung.get("insecure"))):
        yield layers.problem((*key, "url"), f"is {shown(url)}; {text}")
    keyless = vendor.key_env and not any(map(rung.get, ("api_key_env", "api_key")))
    if keyless and usual_variable(stage, rung) is None:
        text = f"is missing, and {vendor.key_env} is not sent to {shown(url)} by default"
        yield layers.problem((*key, "api_key_env"), f"{text}; name the variable with its key")


def usual_variable(stage: Stage, rung: Mapping[str, Any]) -> str | None:
    """Return the variable that holds a rung's key if the file names none.

    `None` if the kind needs no key or is unknown, or if the key would be sent to a host that is
    neither the vendor's nor in a private network.
    """
    found = (item for item in PROVIDERS if (item.stage, item.kind) == (stage, rung.get("kind")))
    vendor, host = next(found, None), _host(str(rung.get("url") or ""))
    if vendor is None:
        return None
    domain = ".".join(_host(vendor.url).split(".")[-2:])
    is_trusted = not host or is_near(host) or f".{host}".endswith(f".{domain}")
    return vendor.key_env if is_trusted else None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


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
    if isinstance(host, str) and not is_loopback(host) and not token:
        text = (
            f"is {shown(host)}, which others can reach, and HOLDLINE_TOKEN is not set; "
            "set it in the environment or .env, or listen on 127.0.0.1"
        )
        yield layers.problem(("server", "host"), text)
    reachable = next(_reachable(layers), None)
    for key, name in ((("server", "token"), "TOKEN"), (("server", "view_token"), "VIEW_TOKEN")):
        held = str(layers.at(key) or "")
        if held and is_short(held) and reachable:
            text = (
                f"has {len(held)} characters, and others can reach {shown(reachable)}; "
                f"HOLDLINE_{name} must have at least {MIN_TOKEN}, for example: openssl rand -hex 24"
            )
            yield layers.problem(key, text)
    view = layers.at(("server", "view_token"))
    if view and (not token or view == token):
        held = "equals HOLDLINE_TOKEN" if token else "is set without HOLDLINE_TOKEN"
        cure = "HOLDLINE_VIEW_TOKEN is for those who may see but not act; give each its own value"
        yield layers.problem(("server", "view_token"), f"{held}; {cure}")


def _reachable(layers: Layers) -> Iterator[str]:
    """Yield the server's names and addresses that are not loopback: its own, and a proxy's."""
    host, public = layers.at(("server", "host")), layers.at(("server", "public_url"))
    also = layers.at(("server", "also_called"))
    if isinstance(host, str) and not is_loopback(host):
        yield host
    for address in (public, *(also if isinstance(also, list | tuple) else ())):
        if isinstance(address, str) and not _is_on_loopback(address):
            yield address


def _is_on_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "localhost")
    except ValueError:
        return True  # reported elsewhere


def _numbers(layers: Layers) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for agent, _ in layers.inside(("agents",), dict):
        for key, number in layers.inside((*agent, "numbers"), list):
            digits = "".join(item for item in str(number) if item.isdigit())
            if digits in taken:
                text = f"is {without_secrets(str(number))}, which {taken[digits]} answers already"
                yield layers.problem(key, text)
            taken[digits] = dotted(agent)


def _plain_addresses(layers: Layers) -> Iterator[Problem]:
    """Check that callers' words go to public addresses by https only, unless http is allowed."""
    for agent in agents_in(layers):
        for key, _ in layers.inside((*agent, "tools"), list):
            yield from _check_plain(layers, (*key, "url"), "what callers say")
    if layers.at(("crm", "kind")) not in NOWHERE:
        yield from _check_plain(layers, ("crm", "url"), "what callers say and the key")
    yield from _check_plain(layers, ("transfer", "webhook_url"), "what callers say")


def _check_plain(layers: Layers, key: Key, carried: str) -> Iterator[Problem]:
    url = layers.text(key)
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # reported elsewhere
    host = parts.hostname or ""
    allowed = says_yes(layers.at((*key[:-1], "insecure")))
    if host and parts.scheme in PLAIN and not is_near(host) and not allowed:
        text = (
            f"is {shown(url)}; plain http carries {carried} unencrypted, and {shown(host)} {FAR}; "
            "use https or set insecure: true"
        )
        yield layers.problem(key, text)


def _databases(layers: Layers) -> Iterator[Problem]:
    for key, trouble in (
        (("resilience", "share"), share_trouble),
        (("storage", "url"), storage_trouble),
    ):
        address = layers.at(key)
        if isinstance(address, str) and (text := trouble(address)):
            yield layers.problem(key, f'is "{masked(address)}"; {text}')


def _telnyx(layers: Layers) -> Iterator[Problem]:
    """Check the public key, which verifies webhooks, and the number for outbound calls."""
    section: Key = ("transports", "telnyx")
    if not says_yes(layers.at((*section, "enabled"))):
        return
    held = layers.at((*section, "public_key"))
    if isinstance(held, str) and not _is_ed25519(held):
        name = layers.at((*section, "public_key_env")) or "TELNYX_PUBLIC_KEY"
        text = f"names {name}, which is not an Ed25519 key of 32 bytes in base64"
        cure = "copy the public key from the portal, under Keys & Credentials"
        yield layers.problem((*section, "public_key_env"), f"{text}; {cure}")
    if layers.at((*section, "connection_id")) and not layers.at((*section, "number")):
        text = "is missing, and connection_id is set; give one of the account's numbers, such as"
        yield layers.problem((*section, "number"), f"{text} +15005550006")


def _is_ed25519(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def _names(layers: Layers) -> Iterator[Problem]:
    """Check the values that name another section or a rung."""
    for key, _ in layers.inside(("campaigns",), dict):
        yield from _check_name(layers, (*key, "agent"), "agents", "leave it out to use `agent`")
    cure = "leave it out if your staff calls back"
    yield from _check_name(layers, ("callbacks", "campaign"), "campaigns", cure)
    known = [
        rung.get("name", rung.get("kind"))
        for _, rung in layers.inside(("stages", "llm"), list)
        if isinstance(rung, dict)
    ]
    for key, _ in layers.inside(("after_call", "models"), dict) if known else ():
        if key[-1] not in known:
            text = f"is not a rung of stages.llm: {', '.join(map(str, known))}"
            yield layers.problem(key, text)


def _check_name(layers: Layers, key: Key, sections: str, cure: str) -> Iterator[Problem]:
    name, known = layers.text(key), [at[-1] for at, _ in layers.inside((sections,), dict)]
    if name and name not in known:
        there = ", ".join(map(str, known)) or "none"
        text = f"is {shown(name)}, which is not one of `{sections}`: {there}; {cure}"
        yield layers.problem(key, text)


def _placeholders(layers: Layers) -> Iterator[Problem]:
    """Check the placeholders in an agent's words: only a CRM fills any, and only in a greeting."""
    has_crm = layers.at(("crm", "kind")) not in (None, "none")
    for agent in agents_in(layers):
        prompts = [key for key, _ in layers.inside((*agent, "silence", "prompts"), list)]
        for key in (*((*agent, *key) for key in SPOKEN), *prompts):
            text = layers.at(key)
            named = placeholders(text) if isinstance(text, str) else ()
            if named and not (has_crm and key == (*agent, "greeting")):
                yield layers.problem(key, f"has {{{named[0]}}}, which nothing fills; {UNFILLED}")


def _files(layers: Layers) -> Iterator[Problem]:
    for key in (("prices", "file"), ("hold", "utterances"), ("crm", "file")):
        file = layers.at(key)
        if isinstance(file, str) and not _is_file(file):
            yield layers.problem(key, f"is {shown(file)}; there is no such file")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # the name is too long, or its folder is not accessible
        return False


RULES: Final = (
    _stages,
    _server,
    _numbers,
    _plain_addresses,
    _databases,
    _telnyx,
    _names,
    _placeholders,
    _files,
)
