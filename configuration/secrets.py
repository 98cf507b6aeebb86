"""Rejects secrets in the file, and fetches them from the environment."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from configuration.carriers import CARRIERS
from configuration.checks import agents_in, needs_key, usual_variable
from configuration.database_urls import mask_password
from configuration.environment import Environment
from configuration.errors import Key, Problem, dotted, is_secret, without_secrets
from configuration.files import FileTree
from configuration.known_secrets import KNOWN
from configuration.layers import NAMES, Layers, says_yes
from configuration.sections import CrmSettings, SheetsSettings
from configuration.settings import LivekitSettings, Settings, SipSettings, TwilioSettings
from configuration.shape import model_at
from configuration.stages import STAGES
from runtime.hosts import PROXY_SUFFIX

MIN_SECRET_PART: Final = 16  # characters of a part of a URL's path that counts as a secret (chosen)


def named_secrets(variables: Environment) -> Iterator[str]:
    """Yield the values of variables that are named like a secret, and the passwords of proxies."""
    for name, value in variables.values.items():
        if is_secret((name,)):
            yield value.strip()
        elif name.lower().endswith(PROXY_SUFFIX):
            yield from _passwords_of(value)


def configured_secrets(settings: Settings) -> Iterator[str]:
    """Yield the secrets of a configuration: also passwords in URLs, and long parts of webhooks."""
    yield from _secrets_in(settings)
    for address in (settings.storage.url, settings.resilience.share, settings.server.store):
        yield from _passwords_of(address or "")
    for address in (settings.alerts.webhook.url, settings.transfer.webhook_url):
        yield from _passwords_of(address or "")
        parts = urlsplit(address or "").path.split("/")
        yield from (part for part in parts if len(part) >= MIN_SECRET_PART)


def _secrets_in(value: Any) -> Iterator[str]:
    """Yield the text of each secret in a section, mapping or list, at any depth."""
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
    """Yield the password in a URL, if there is one, as written there and unquoted."""
    login = address.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    if password:
        yield password
        yield unquote(password)


VARIABLE: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
LOOKS_LIKE_A_KEY: Final = re.compile(r"^(?=.*\d)[A-Za-z0-9]{20,}$")  # long, has a digit, no _
DATABASE_URLS: Final[tuple[Key, ...]] = (
    ("storage", "url"),
    ("resilience", "share"),
    ("server", "store"),
)
PATH_FIELDS: Final = ("credentials_file",)  # fields with the path of a secret, not used in headers
RUNG_PARTS: Final = 3  # of a rung's key: `stages`, the stage, the index


def problems_in(file: FileTree) -> Iterator[Problem]:
    """Yield a problem for each secret in the file, and for each `…_env` that names no variable."""
    for key, value in _keyed_leaves(file.tree, ()):
        if _is_in_tool_schema(key):
            continue
        if text := _why_refused(key, value):
            yield Problem(where=file.where(key), text=text, key=key)


def _is_in_tool_schema(key: Key) -> bool:
    """Return whether a key lies in `tools[N].parameters`, which may describe a `password`."""
    return any(
        (section, part) == ("tools", "parameters") and isinstance(index, int)
        for section, index, part in zip(key, key[1:], key[2:], strict=False)
    )


def _why_refused(key: Key, value: Any) -> str | None:
    """Return why a value must not be in the file, and the cure; `None` if it may."""
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
    if isinstance(value, str) and _mask_value(key, value) != value:
        return (
            f"{name} holds a secret; put the value in the environment or .env"
            f"{_where_to_put(key) or f', as {_variable_name(key)}'}"
        )
    return None


def _mask_value(key: Key, value: str) -> str:
    return mask_password(value) if key in DATABASE_URLS else without_secrets(value)


def _where_to_put(key: Key) -> str:
    """Return the end of a message: the `_env` key or the variable that can hold this secret."""
    section, field = model_at(key[:-1]), f"{key[-1]}_env"
    if section and field in section.model_fields:
        return f" and name it in {field}"
    if key[:1] == ("stages",) and len(key) > RUNG_PARTS:  # in the `init` or `settings` of a rung
        return f" and name its variable in {dotted((*key[:RUNG_PARTS], 'api_key_env'))}"
    name = next((name for name, known in NAMES.items() if known == key), None)
    return f" as {name}" if name else ""


def _variable_name(key: Key) -> str:
    return "HOLDLINE__" + "__".join(str(part).upper() for part in key)


def _is_variable(value: str) -> bool:
    """Return whether a value can be a variable's name, and does not look like a secret."""
    looks_secret = without_secrets(value) != value or value.startswith("sk_")
    return bool(VARIABLE.match(value)) and not (LOOKS_LIKE_A_KEY.match(value) or looks_secret)


def _keyed_leaves(value: Any, at: Key) -> Iterator[tuple[Key, Any]]:
    """Yield each value that is no mapping or list, with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _keyed_leaves(inner, (*at, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _keyed_leaves(item, (*at, index))
    elif at:
        yield at, value


def fetch_secrets(layers: Layers, environment: Environment, *, required: bool) -> Iterator[Problem]:
    """Store the value of each secret that a `…_env` key names, and mask it from now on.

    Yields a problem for each unusable value and, if `required`, for each needed one that is unset.
    A value that another variable has set for the field itself stays. For fields that are not
    secret, a value from the file stays if the variable is unset.
    """
    variables = {environment.where(name) for name in environment.values}
    for key, field, default, needed in _secret_fields(layers):
        name = layers.value_at((*key, f"{field}_env")) or default
        if not isinstance(name, str) or not name:
            continue
        held, value = layers.value_at((*key, field)), environment.get(name)
        if held and (value is None or layers.where((*key, field)) in variables):
            continue
        cause = _why_unusable(field, value) if value else "is not set"
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


def _why_unusable(field: str, value: str) -> str:
    """Return why a variable's value is unusable; empty if it is usable."""
    if field in PATH_FIELDS:
        return "" if value.isprintable() else "has characters that cannot be printed"
    return "" if re.fullmatch(r"[!-~]+", value) else "is not one printable ASCII word"


def _secret_fields(layers: Layers) -> Iterator[tuple[Key, str, str | None, bool]]:
    """Yield the section, field and default variable of each secret, and whether it is needed."""
    yield from _secret_fields_in_lists(layers)
    sip: Key = ("transports", "livekit", "sip")
    for key, section, field, needed in (
        (("crm",), CrmSettings, "token", layers.value_at(("crm", "kind")) == "hubspot"),
        (
            ("sheets",),
            SheetsSettings,
            "credentials_file",
            says_yes(layers.value_at(("sheets", "enabled"))),
        ),
        (sip, SipSettings, "inbound_password", False),
        *_secret_fields_of_carriers(layers),
    ):
        yield key, field, section.model_fields[f"{field}_env"].default, needed


def _secret_fields_of_carriers(layers: Layers) -> Iterator[tuple[Key, type[BaseModel], str, bool]]:
    """Yield the key, model and field of each carrier's secrets, and whether it is needed.

    An enabled carrier that places calls needs all of them. Any other enabled one needs those of
    inbound calls, unless another key replaces them.
    """
    for name, section, fields in (
        ("twilio", TwilioSettings, {"auth_token": True, "account_sid": False}),
        *((name, section, section.secrets) for name, section in CARRIERS.items()),
        ("livekit", LivekitSettings, {"api_key": True, "api_secret": True}),
    ):
        key: Key = ("transports", name)
        carrier = CARRIERS.get(name)
        replaced_by, dialling_key = (
            (carrier.secrets_replaced_by, carrier.dialling_key) if carrier else ("", "")
        )
        replaced = bool(replaced_by and layers.value_at((*key, replaced_by)))
        dials = bool(dialling_key and layers.value_at((*key, dialling_key)))
        enabled = says_yes(layers.value_at((*key, "enabled")))
        for field, needed in fields.items():
            yield key, section, field, enabled and (dials or (needed and not replaced))


def _secret_fields_in_lists(layers: Layers) -> Iterator[tuple[Key, str, str | None, bool]]:
    """Yield the same as `_secret_fields`, for rungs, tools and ICE servers."""
    for stage in STAGES:
        for key, rung in layers.items_at(("stages", stage), list):
            if isinstance(rung, dict):
                yield key, "api_key", usual_variable(stage, rung), needs_key(stage, rung)
    for agent in agents_in(layers):
        for key, _ in layers.items_at((*agent, "tools"), list):
            yield key, "secret", None, True
            yield key, "signing_secret", None, True
    for key, _ in layers.items_at(("transports", "webrtc", "ice_servers"), list):
        yield key, "credential", None, True
