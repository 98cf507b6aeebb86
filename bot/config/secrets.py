"""Rejects secrets in the file, and fetches them from the environment."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from bot.config.carriers import CARRIERS
from bot.config.checks import agents_in, usual_variable
from bot.config.database_urls import masked
from bot.config.environment import Environment
from bot.config.errors import Key, Problem, dotted, is_secret, without_secrets
from bot.config.files import FileTree
from bot.config.known_secrets import KNOWN
from bot.config.layers import NAMES, Layers, says_yes
from bot.config.sections import CrmSettings, SheetsSettings
from bot.config.settings import LivekitSettings, Settings, SipSettings, TwilioSettings
from bot.config.shape import model_at
from bot.config.stages import STAGES
from bot.hosts import SUFFIX

LONG: Final = 16  # characters from which a part of a URL's path counts as a secret (chosen)


def named_secrets(variables: Environment) -> Iterator[str]:
    """Yield the values of variables that are named like a secret, and the passwords of proxies."""
    for name, value in variables.values.items():
        if is_secret((name,)):
            yield value.strip()
        elif name.lower().endswith(SUFFIX):
            yield from _passwords_of(value)


def configured_secrets(settings: Settings) -> Iterator[str]:
    """Yield each secret of a configuration, and the passwords in its URLs."""
    yield from _secrets_in(settings)
    for address in (settings.storage.url, settings.resilience.share):
        yield from _passwords_of(address)
    for address in (settings.alerts.webhook.url, settings.transfer.webhook_url):
        yield from _passwords_of(address or "")
        yield from (word for word in urlsplit(address or "").path.split("/") if len(word) >= LONG)


def _secrets_in(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets_in(getattr(value, name))
        case dict():
            for item in value.values():
                yield from _secrets_in(item)
        case list() | tuple():
            for item in value:
                yield from _secrets_in(item)
        case _:
            pass


def _passwords_of(address: str) -> Iterator[str]:
    login = address.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    if password:
        yield password
        yield unquote(password)


VARIABLE: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
LOOKS_LIKE_A_KEY: Final = re.compile(r"^(?=.*\d)[A-Za-z0-9]{20,}$")  # long, has a digit, no _
ADDRESSES: Final[tuple[Key, ...]] = (("storage", "url"), ("resilience", "share"))
PATHS: Final = ("credentials_file",)  # fields with the path of a secret, not used in headers
OWNERS_OWN: Final = "parameters"  # a tool's schema may have a property named `password`


def problems_in(file: FileTree) -> Iterator[Problem]:
    """Yield a problem for each secret in the file, and for each `…_env` that names no variable."""
    for key, value in _leaves(file.tree, ()):
        if OWNERS_OWN in key:
            continue
        if text := _trouble(key, value):
            yield Problem(where=file.where(key), text=text, key=key)


def _trouble(key: Key, value: Any) -> str | None:
    name = dotted(key)
    if is_secret(key):
        return f"{name} is a secret; put it in the environment or .env{_where_to_put(key)}"
    if str(key[-1]).endswith("_env"):
        if value is None or (isinstance(value, str) and _is_variable(value)):
            return None
        return (
            f"{name} must be the name of an environment variable such as DEEPGRAM_API_KEY, "
            "not the secret itself"
        )
    if isinstance(value, str) and _mask(key, value) != value:
        return (
            f"{name} holds a secret; put the value in the environment or .env, as {_variable(key)}"
        )
    return None


def _mask(key: Key, value: str) -> str:
    return masked(value) if key in ADDRESSES else without_secrets(value)


def _where_to_put(key: Key) -> str:
    """Return the end of a message: the `_env` key or the variable that can hold this secret."""
    section, field = model_at(key[:-1]), f"{key[-1]}_env"
    if section and field in section.model_fields:
        return f" and name it in {field}"
    name = next((name for name, known in NAMES.items() if known == key), None)
    return f" as {name}" if name else ""


def _variable(key: Key) -> str:
    return "HOLDLINE__" + "__".join(str(part).upper() for part in key)


def _is_variable(value: str) -> bool:
    return bool(VARIABLE.match(value)) and not (
        LOOKS_LIKE_A_KEY.match(value) or without_secrets(value) != value or value.startswith("sk_")
    )


def _leaves(value: Any, at: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*at, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*at, index))
    elif at:
        yield at, value


def fetch(layers: Layers, environment: Environment, *, required: bool) -> Iterator[Problem]:
    """Store the value of each secret that a `…_env` key names; yield a problem if it is unusable.

    If `required`, also if it is unset although it is needed.
    A value that a variable has set for the field itself stays. For fields that are not secret, a
    value from the file stays if the variable is unset.
    """
    variables = {environment.where(name) for name in environment.values}
    for key, field, default, needed in _secret_fields(layers):
        name = layers.at((*key, f"{field}_env")) or default
        if not isinstance(name, str) or not name:
            continue
        held, value = layers.at((*key, field)), environment.get(name)
        if held and (value is None or layers.where((*key, field)) in variables):
            continue
        cause = _flaw(field, value) if value else "is not set"
        if value and not cause:
            KNOWN.learn([value])
            layers.put((*key, field), value, where=environment.where(name))
        elif value or (needed and required):
            text = (
                f"{dotted((*key, f'{field}_env'))} names {without_secrets(name)}, which {cause}; "
            )
            cure = "put it in the environment or .env"
            where = layers.where((*key, f"{field}_env"))
            absent = value is None
            yield Problem(where=where, text=text + cure, key=(*key, f"{field}_env"), absent=absent)


def _flaw(field: str, value: str) -> str:
    """Return why a variable's value is unusable; empty if it is usable."""
    if field in PATHS:
        return "" if value.isprintable() else "has characters that cannot be printed"
    return "" if re.fullmatch(r"[!-~]+", value) else "is not one printable ASCII word"


def _secret_fields(layers: Layers) -> Iterator[tuple[Key, str, str | None, bool]]:
    """Yield the section, field and default variable of each secret, and whether it is required."""
    yield from _secret_fields_in_lists(layers)
    sip: Key = ("transports", "livekit", "sip")
    for key, section, field, needed in (
        (("crm",), CrmSettings, "token", layers.at(("crm", "kind")) == "hubspot"),
        (
            ("sheets",),
            SheetsSettings,
            "credentials_file",
            says_yes(layers.at(("sheets", "enabled"))),
        ),
        (sip, SipSettings, "inbound_password", False),
        *_secret_fields_of_carriers(layers),
    ):
        yield key, field, section.model_fields[f"{field}_env"].default, needed


def _secret_fields_of_carriers(layers: Layers) -> Iterator[tuple[Key, type[BaseModel], str, bool]]:
    for name, section, fields in (
        ("twilio", TwilioSettings, {"auth_token": True, "account_sid": False}),
        *((name, carrier, carrier.secrets) for name, carrier in CARRIERS.items()),
        ("livekit", LivekitSettings, {"api_key": True, "api_secret": True}),
    ):
        key: Key = ("transports", name)
        instead, dials_with = (
            (CARRIERS[name].or_instead, CARRIERS[name].dials_with) if name in CARRIERS else ("", "")
        )
        replaced = bool(instead and layers.at((*key, instead)))
        dials = bool(dials_with and layers.at((*key, dials_with)))
        enabled = says_yes(layers.at((*key, "enabled")))
        for field, needed in fields.items():
            yield key, section, field, enabled and (dials or (needed and not replaced))


def _secret_fields_in_lists(layers: Layers) -> Iterator[tuple[Key, str, str | None, bool]]:
    for stage in STAGES:
        for key, rung in layers.inside(("stages", stage), list):
            if isinstance(rung, dict):
                yield key, "api_key", usual_variable(stage, rung), rung.get("kind") != "local"
    for agent in agents_in(layers):
        for key, _ in layers.inside((*agent, "tools"), list):
            yield key, "secret", None, True
            yield key, "signing_secret", None, True
    for key, _ in layers.inside(("transports", "webrtc", "ice_servers"), list):
        yield key, "credential", None, True
