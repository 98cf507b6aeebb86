"""Checks that concern more than one value: names, addresses, keys, transports."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from calls.outside_text import placeholders
from configuration.database_urls import mask_password, share_trouble, storage_trouble, store_trouble
from configuration.errors import Key, Problem, dotted, nearest, shown, without_secrets
from configuration.layers import Layers, says_yes
from configuration.service_checks import check_service
from configuration.stages import STAGES
from configuration.values import number_key
from providers.catalog import ADAPTED, kinds, known_services, provider
from providers.openai_servers import openai_servers, server_at
from providers.provider import Provider, Stage
from providers.sphinx_ear import NOT_INSTALLED, is_installed
from runtime.hosts import is_loopback, is_near

UNENCRYPTED: Final = ("ws", "http")
NOT_PRIVATE: Final = "is not a loopback or private address"  # host names count as public
CRM_WITHOUT_REQUESTS: Final = (None, "none", "own")  # CRM kinds to which nothing is sent
SPOKEN_TEXTS: Final = (  # an agent's own words, in addition to its questions to a silent caller
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


def check_layers(layers: Layers) -> Iterator[Problem]:
    """Yield a problem for each broken rule of the merged configuration."""
    for rule in RULES:
        yield from rule(layers)


def agents_in(layers: Layers) -> Iterator[Key]:
    """Yield the key of the section `agent`, then the keys of all `agents`."""
    yield ("agent",)
    yield from (key for key, _ in layers.items_at(("agents",), dict))


def _check_stages(layers: Layers) -> Iterator[Problem]:
    """Check every rung, and that each has a name of its own."""
    names: dict[str, Key] = {}
    for stage in STAGES:
        for key, rung in layers.items_at(("stages", stage), list):
            if not isinstance(rung, dict):
                continue
            yield from _check_rung(layers, key, stage=stage, rung=rung)
            name = rung.get("name", rung.get("kind"))
            if isinstance(name, str) and name in names:
                text = f"is {shown(name)}, like {dotted(names[name])}; give each rung its own name"
                yield layers.problem((*key, "name"), text)
            elif isinstance(name, str):
                names[name] = key


def _check_rung(
    layers: Layers, key: Key, *, stage: Stage, rung: dict[str, Any]
) -> Iterator[Problem]:
    """Yield the problems of a rung: its kind, service and URL, and a key that has no variable.

    A vendor's usual key is not sent to a foreign host. Of a rung whose kind is unknown, nothing
    else is checked.
    """
    kind, known = rung.get("kind"), kinds(stage)
    if kind not in known:
        suggestion = _meant_kind(kind, stage) if isinstance(kind, str) else ""
        what_is_wrong = "is missing" if kind is None else f"is {shown(kind)}"
        text = f"{what_is_wrong}; {suggestion}({', '.join(known)})"
        yield layers.problem((*key, "kind"), text)
        return
    if (stage, kind) == ("stt", "local") and not is_installed():
        yield layers.problem((*key, "kind"), f"is {shown(kind)}, which {NOT_INSTALLED}")
    yield from check_service(layers, key, stage, rung)
    vendor = provider(stage, str(kind), str(rung.get("service") or ""))
    url, insecure = rung.get("url"), rung.get("insecure")
    if isinstance(url, str) and (text := _why_url_is_wrong(url, vendor, insecure=insecure)):
        yield layers.problem((*key, "url"), f"is {shown(url)}; {text}")
    names_no_key = vendor.key_env and not any(map(rung.get, ("api_key_env", "api_key")))
    if names_no_key and usual_variable(stage, rung) is None:  # its host is not the vendor's
        text = f"is missing, and {vendor.key_env} is not sent to {shown(url)} by default"
        usual = server_at(str(url)).key_env if stage == "llm" else ""
        cure = "name the variable with its key" + (f", such as {usual}" if usual else "")
        yield layers.problem((*key, "api_key_env"), f"{text}; {cure}")


def _meant_kind(kind: str, stage: Stage) -> str:
    """Return what to write instead of an unknown kind, with a space at the end."""
    word = "".join(filter(str.isalnum, kind.lower()))
    server = openai_servers().get(word) if stage == "llm" else None
    service = "" if server or word in kinds(stage) else _service_called(word, stage)
    # `pipecat` resembles many words, so it is suggested only for those that begin like it.
    meant = [name for name in kinds(stage) if name[:2] == kind[:2].lower() or name != ADAPTED]
    if service:
        return f"use kind: {ADAPTED} with service: {service} "
    if close := None if server else nearest(kind, meant):
        return f'did you mean "{close}"? '
    if stage != "llm":
        return f"use kind: {ADAPTED} for any service of Pipecat "
    unknown = "with its url, if it speaks OpenAI's protocol"
    place = f'with url: "{server.url}"' if server else unknown
    return f"use kind: openai {place} "


def _service_called(word: str, stage: Stage) -> str:
    """Return the first of Pipecat's services whose vendor or module has a name; else empty."""
    for service in known_services(stage):
        module = service.removeprefix("pipecat.services.").partition(".")[0]
        title = provider(stage, ADAPTED, service).title
        if word in ("".join(filter(str.isalnum, name.lower())) for name in (module, title)):
            return service
    return ""


def usual_variable(stage: Stage, rung: Mapping[str, Any]) -> str | None:
    """Return the variable that holds a rung's key if the file names none.

    `None` if the kind needs no key or is unknown, or if the key would be sent to a host that is
    neither the vendor's nor in a private network.
    """
    host = _host_of_url(str(rung.get("url") or ""))
    try:
        vendor = provider(stage, str(rung.get("kind")), str(rung.get("service") or ""))
    except KeyError:
        return None
    is_trusted = not host or is_near(host) or vendor.owns(host)
    return vendor.key_env if is_trusted else None


def needs_key(stage: Stage, rung: Mapping[str, Any]) -> bool:
    """Return whether a rung cannot work without a key.

    One with a Pipecat service needs a key if it names a variable or the service has a usual one.
    Of all other rungs only `local` needs none.
    """
    kind, service = str(rung.get("kind")), str(rung.get("service") or "")
    if kind == ADAPTED and service:
        return bool(rung.get("api_key_env") or provider(stage, kind, service).key_env)
    return kind != "local"


def _host_of_url(url: str) -> str:
    """Return the host in a URL; empty if it has none or is invalid."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _why_url_is_wrong(url: str, vendor: Provider, *, insecure: object) -> str | None:
    """Return what is wrong with a rung's URL, and the cure; `None` if it is valid."""
    if not vendor.facts.schemes:
        return f"a rung of kind {vendor.kind} takes no url" if url else None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in vendor.facts.schemes or not host:
        schemes = " or ".join(f"{scheme}://…" for scheme in vendor.facts.schemes)
        return f"it must be {schemes}" + (f", such as {vendor.url}" if vendor.url else "")
    if parts.scheme in UNENCRYPTED and not says_yes(insecure) and not is_near(host):
        return (
            f"plain {parts.scheme} carries the key unencrypted, and {shown(host)} {NOT_PRIVATE}; "
            f"use {vendor.facts.schemes[0]} or set insecure: true"
        )
    return None


def _check_server(layers: Layers) -> Iterator[Problem]:
    """Check that a server that others can reach has tokens that cannot be guessed.

    A view token must differ from the token, and needs one.
    """
    host, token = layers.value_at(("server", "host")), layers.value_at(("server", "token"))
    if isinstance(host, str) and not is_loopback(host) and not token:
        text = (
            f"is {shown(host)}, which others can reach, and HOLDLINE_TOKEN is not set; "
            "set it in the environment or .env, or listen on 127.0.0.1"
        )
        yield layers.problem(("server", "host"), text)
    reachable = next(_reachable_hosts(layers), None)
    for key, name in ((("server", "token"), "TOKEN"), (("server", "view_token"), "VIEW_TOKEN")):
        value = str(layers.value_at(key) or "")
        if value and is_short(value) and reachable:
            text = (
                f"has {len(value)} characters, and others can reach {shown(reachable)}; "
                f"HOLDLINE_{name} must have at least {MIN_TOKEN}, for example: openssl rand -hex 24"
            )
            yield layers.problem(key, text)
    view = layers.value_at(("server", "view_token"))
    if view and (not token or view == token):
        held = "equals HOLDLINE_TOKEN" if token else "is set without HOLDLINE_TOKEN"
        cure = "HOLDLINE_VIEW_TOKEN is for those who may see but not act; give each its own value"
        yield layers.problem(("server", "view_token"), f"{held}; {cure}")


def _reachable_hosts(layers: Layers) -> Iterator[str]:
    """Yield the server's names and addresses that are not loopback: its own, and a proxy's."""
    host, public = layers.value_at(("server", "host")), layers.value_at(("server", "public_url"))
    also = layers.value_at(("server", "also_called"))
    if isinstance(host, str) and not is_loopback(host):
        yield host
    for address in (public, *(also if isinstance(also, list | tuple) else ())):
        if isinstance(address, str) and not _is_on_loopback(address):
            yield address


def _is_on_loopback(url: str) -> bool:
    """Return whether a URL's host is loopback; also for an invalid URL."""
    try:
        return is_loopback(urlsplit(url).hostname or "localhost")
    except ValueError:
        return True  # reported elsewhere


def _check_numbers(layers: Layers) -> Iterator[Problem]:
    """Check that no called number belongs to two agents."""
    agent_by_number: dict[str, str] = {}
    for agent, _ in layers.items_at(("agents",), dict):
        for key, number in layers.items_at((*agent, "numbers"), list):
            called = number_key(str(number))
            if other := agent_by_number.get(called):
                text = f"is {without_secrets(str(number))}, which {other} answers already"
                yield layers.problem(key, text)
            agent_by_number[called] = dotted(agent)


def _check_plain_addresses(layers: Layers) -> Iterator[Problem]:
    """Check that callers' words are sent to public addresses by https, unless http is allowed."""
    for agent in agents_in(layers):
        for key, _ in layers.items_at((*agent, "tools"), list):
            yield from _check_plain(layers, (*key, "url"), "what callers say")
    if layers.value_at(("crm", "kind")) not in CRM_WITHOUT_REQUESTS:
        yield from _check_plain(layers, ("crm", "url"), "what callers say and the key")
    yield from _check_plain(layers, ("transfer", "webhook_url"), "what callers say")


def _check_plain(layers: Layers, key: Key, carried: str) -> Iterator[Problem]:
    """Check that a URL is not plain http to a public address, unless `insecure` next to it is set.

    `carried` says in the message what would be sent unencrypted.
    """
    url = layers.text_at(key)
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # reported elsewhere
    host = parts.hostname or ""
    allowed = says_yes(layers.value_at((*key[:-1], "insecure")))
    if host and parts.scheme in UNENCRYPTED and not is_near(host) and not allowed:
        text = (
            f"is {shown(url)}; plain http carries {carried} unencrypted, and "
            f"{shown(host)} {NOT_PRIVATE}; use https or set insecure: true"
        )
        yield layers.problem(key, text)


def _check_databases(layers: Layers) -> Iterator[Problem]:
    """Check the addresses of the database, of shared health and of the store."""
    for key, trouble in (
        (("resilience", "share"), share_trouble),
        (("storage", "url"), storage_trouble),
        (("server", "store"), store_trouble),
    ):
        address = layers.value_at(key)
        if isinstance(address, str) and (text := trouble(address)):
            yield layers.problem(key, f'is "{mask_password(address)}"; {text}')


def _check_telnyx(layers: Layers) -> Iterator[Problem]:
    """Check the public key, which verifies webhooks, and the number for outbound calls."""
    section: Key = ("transports", "telnyx")
    if not says_yes(layers.value_at((*section, "enabled"))):
        return
    public_key = layers.value_at((*section, "public_key"))
    if isinstance(public_key, str) and not _is_ed25519(public_key):
        name = layers.value_at((*section, "public_key_env")) or "TELNYX_PUBLIC_KEY"
        text = f"names {name}, which is not an Ed25519 key of 32 bytes in base64"
        cure = "copy the public key from the portal, under Keys & Credentials"
        yield layers.problem((*section, "public_key_env"), f"{text}; {cure}")
    if layers.value_at((*section, "connection_id")) and not layers.value_at((*section, "number")):
        text = "is missing, and connection_id is set; give one of the account's numbers, such as"
        yield layers.problem((*section, "number"), f"{text} +15005550006")


def _is_ed25519(text: str) -> bool:
    """Return whether a text is 32 bytes in base64, the length of an Ed25519 key."""
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def _check_references(layers: Layers) -> Iterator[Problem]:
    """Check the values that name another section or a rung."""
    for key, _ in layers.items_at(("campaigns",), dict):
        yield from _check_reference(
            layers, (*key, "agent"), "agents", "leave it out to use `agent`"
        )
    cure = "leave it out if your staff calls back"
    yield from _check_reference(layers, ("callbacks", "campaign"), "campaigns", cure)
    known = [
        rung.get("name", rung.get("kind"))
        for _, rung in layers.items_at(("stages", "llm"), list)
        if isinstance(rung, dict)
    ]
    for key, _ in layers.items_at(("after_call", "models"), dict) if known else ():
        if key[-1] not in known:
            text = f"is not a rung of stages.llm: {', '.join(map(str, known))}"
            yield layers.problem(key, text)


def _check_reference(layers: Layers, key: Key, sections: str, cure: str) -> Iterator[Problem]:
    """Check that the value at a key, if it is set, names one of `sections`."""
    name = layers.text_at(key)
    names = [section[-1] for section, _ in layers.items_at((sections,), dict)]
    if name and name not in names:
        known = ", ".join(map(str, names)) or "none"
        text = f"is {shown(name)}, which is not one of `{sections}`: {known}; {cure}"
        yield layers.problem(key, text)


def _check_placeholders(layers: Layers) -> Iterator[Problem]:
    """Check the placeholders in an agent's words: only a CRM fills any, and only in a greeting."""
    has_crm = layers.value_at(("crm", "kind")) not in (None, "none")
    for agent in agents_in(layers):
        prompts = [key for key, _ in layers.items_at((*agent, "silence", "prompts"), list)]
        for key in (*((*agent, *path) for path in SPOKEN_TEXTS), *prompts):
            text = layers.value_at(key)
            named = placeholders(text) if isinstance(text, str) else ()
            if named and not (has_crm and key == (*agent, "greeting")):
                yield layers.problem(key, f"has {{{named[0]}}}, which nothing fills; {UNFILLED}")


def _check_files(layers: Layers) -> Iterator[Problem]:
    """Check that the files which the configuration names exist."""
    for key in (("prices", "file"), ("hold", "utterances"), ("crm", "file")):
        file = layers.value_at(key)
        if isinstance(file, str) and not _is_file(file):
            yield layers.problem(key, f"is {shown(file)}; there is no such file")


def _is_file(name: str) -> bool:
    """Return whether a file of this name exists and can be seen."""
    try:
        return Path(name).is_file()
    except OSError:  # the name is too long, or its folder is not accessible
        return False


RULES: Final = (
    _check_stages,
    _check_server,
    _check_numbers,
    _check_plain_addresses,
    _check_databases,
    _check_telnyx,
    _check_references,
    _check_placeholders,
    _check_files,
)
