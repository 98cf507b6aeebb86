"""Types of configuration values, with their limits."""

import base64
import ipaddress
import re
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from configuration.files import UnquotedDigits
from runtime.machines import MACHINE

LANGUAGE: Final = r"^(multi|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)$"  # BCP 47, or `multi` to detect it
ICE_SERVER: Final = re.compile(  # RFC 7064, RFC 7065
    r"stun:[^\s?@:/]+(:\d+)?|turns?:[^\s?@:/]+(:\d+)?(\?transport=(udp|tcp))?"
)
ENTRY_POINT: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*(\.\w+)*$"
HTTP_URL: Final = r"^https?://[^/\s]+"
SOCKET_URL: Final = r"^wss?://[^/\s]+"
NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
NUMBER: Final = r"^\+?[0-9*#]{2,20}$"
DIALLED: Final = r"^(\+?[0-9*#]{2,20}|sips?:[^\s@<>;]+@[^\s@<>;]+)$"
MIN_NOT_EXTENSION: Final = 1_000_000  # chosen: an extension has at most six digits
REGION: Final = r"^[A-Z]{2}$"  # ISO 3166, such as DE or GB
MACHINE_NAME: Final = rf"^{MACHINE}$"
REGION_OR_NONE: Final = r"^([A-Z]{2})?$"
PREFIX: Final = r"^\+[1-9][0-9]{0,14}$"
NUMBER_SHAPE: Final = r"^\+[1-9][0-9.]{1,14}$"
OTHER_CODES: Final = {"UK": "GB for the United Kingdom", "EL": "GR for Greece"}  # used in the EU
TELEPHONE_KEY: Final = r"^[0-9*#]$"
DAY_TIME: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
SIGNING_PREFIX: Final = "whsec_"  # of a secret (Standard Webhooks)
MIN_SIGNING_BYTES: Final = 24  # of its key, according to the same


class Section(BaseModel):
    """One mapping of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def number_key(number: str) -> str:
    """Return what two notations of a called number have in common: all but plus and separators."""
    return "".join(item for item in number if item.isalnum() or item in "*#")


def signing_key(secret: str) -> bytes:
    """Return the key in a signing secret: base64, with or without its prefix and padding.

    Raises:
        ValueError: It is not base64, or empty.
    """
    packed = secret.removeprefix(SIGNING_PREFIX)
    key = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    if not key:
        raise ValueError("a key in base64")
    return key


def _check_signing_secret(secret: SecretStr | None) -> SecretStr | None:
    """Refuse a signing secret without its prefix, too short, or not in base64; none is valid."""
    text = secret.get_secret_value() if secret else ""
    try:
        is_valid = len(signing_key(text)) >= MIN_SIGNING_BYTES
    except ValueError:
        is_valid = False
    if text and not (is_valid and text.startswith(SIGNING_PREFIX)):
        raise ValueError(f"{SIGNING_PREFIX} followed by at least 24 bytes in base64")
    return secret


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):  # Python accepts `true` as 1
        raise ValueError("a number")  # noqa: TRY004 - Pydantic collects only ValueError
    return value


def _as_network(value: Any) -> Any:
    """Return an address or a network in CIDR notation: 192.0.2.7 becomes 192.0.2.7/32."""
    try:
        return str(ipaddress.ip_network(value))
    except (TypeError, ValueError) as error:
        raise ValueError("an address or a network such as 192.0.2.0/24") from error


def _check_ice_url(value: str) -> str:
    if not ICE_SERVER.fullmatch(value):
        raise ValueError("stun:HOST:PORT, or turn:HOST:PORT?transport=udp, tcp or none")
    return value


def _refuse_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("text that is not empty")
    return value


def _check_url(value: str, *, pattern: str) -> str:
    """Refuse an invalid URL with the same error as text that is not a URL at all."""
    try:
        parts = urlsplit(value)
        is_valid = bool(parts.hostname) and (parts.port or 0) >= 0  # reading the port validates it
    except ValueError:  # an invalid port or IPv6 address
        is_valid = False
    if not is_valid or re.search(r"\s", value):
        raise _no_match(pattern)
    return value


def _check_base_url(value: str) -> str:
    """Refuse a URL to which no path can be appended, because it has a query or a fragment."""
    if "?" in value or "#" in value:
        raise _no_match(HTTP_URL)
    return value


def _no_match(pattern: str) -> PydanticCustomError:
    return PydanticCustomError("string_pattern_mismatch", "a URL", {"pattern": pattern})


def _as_number(value: Any) -> Any:
    """Remove a number's punctuation; refuse one that may have lost its plus or country code.

    Digits without quotes and without a plus are accepted only if they are short enough for an
    extension. Quoted digits are taken as the carrier writes them.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0 or value >= MIN_NOT_EXTENSION:
            raise _no_match(NUMBER)
        return str(value)
    if (
        isinstance(value, UnquotedDigits)
        and value.startswith("0")
        and int(value) >= MIN_NOT_EXTENSION
    ):
        raise _no_match(NUMBER)
    return re.sub(r"[\s().-]", "", value) if isinstance(value, str) else value


def _as_prefix(value: Any) -> Any:
    if isinstance(value, int):  # gets the same error as text without a plus
        raise _no_match(PREFIX)
    return value


def _check_region(value: str) -> str:
    """Refuse an unknown country; an empty text is valid."""
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - most configurations name none

    if value in OTHER_CODES:
        raise ValueError(f"{OTHER_CODES[value]} (ISO 3166-1)")
    if value and value not in SUPPORTED_REGIONS:
        raise _no_match(REGION)
    return value


def _as_key(value: Any) -> Any:
    """Turn a key into text: YAML reads `0` as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_dialled(value: Any) -> Any:
    """Leave a SIP address as it is; treat everything else as a telephone number."""
    is_sip = isinstance(value, str) and value.strip().lower().startswith(("sip:", "sips:"))
    return value.strip() if is_sip else _as_number(value)


def _as_day_time(value: Any) -> Any:
    """Restore a time's colon: YAML reads `22:00` as 1320."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value // 60:02}:{value % 60:02}"
    return value


def _check_zone(value: str) -> str:
    """Refuse a time zone that this machine does not know."""
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("a time zone such as Europe/Berlin or UTC") from error
    return value


_RefuseBool = BeforeValidator(_refuse_bool, json_schema_input_type=float)

Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_refuse_blank)]
Port = Annotated[int, _RefuseBool, Field(ge=0, le=65535)]
Count = Annotated[int, _RefuseBool, Field(ge=1)]
Alternatives = Annotated[int, _RefuseBool, Field(ge=1, le=10)]
CountOrZero = Annotated[int, _RefuseBool, Field(ge=0)]
Seconds = Annotated[float, _RefuseBool, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, _RefuseBool, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, _RefuseBool, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, _RefuseBool, Field(ge=1, allow_inf_nan=False)]
Language = Annotated[str, StringConstraints(pattern=LANGUAGE)]
EntryPoint = Annotated[str, StringConstraints(pattern=ENTRY_POINT)]
HttpUrl = Annotated[
    str, StringConstraints(pattern=HTTP_URL), AfterValidator(partial(_check_url, pattern=HTTP_URL))
]
PublicUrl = Annotated[HttpUrl, AfterValidator(_check_base_url)]
SocketUrl = Annotated[
    str,
    StringConstraints(pattern=SOCKET_URL),
    AfterValidator(partial(_check_url, pattern=SOCKET_URL)),
]
IceUrl = Annotated[str, AfterValidator(_check_ice_url)]
Number = Annotated[str, BeforeValidator(_as_number), StringConstraints(pattern=NUMBER)]
MachineName = Annotated[str, StringConstraints(pattern=MACHINE_NAME)]
Region = Annotated[str, StringConstraints(pattern=REGION), AfterValidator(_check_region)]
RegionOrNone = Annotated[
    str, StringConstraints(pattern=REGION_OR_NONE), AfterValidator(_check_region)
]
Prefix = Annotated[str, BeforeValidator(_as_prefix), StringConstraints(pattern=PREFIX)]
NumberShape = Annotated[str, BeforeValidator(_as_prefix), StringConstraints(pattern=NUMBER_SHAPE)]
IpNetwork = Annotated[str, BeforeValidator(_as_network)]
Dialled = Annotated[str, BeforeValidator(_as_dialled), StringConstraints(pattern=DIALLED)]
Key = Annotated[str, BeforeValidator(_as_key), StringConstraints(pattern=TELEPHONE_KEY)]
DayTime = Annotated[str, BeforeValidator(_as_day_time), StringConstraints(pattern=DAY_TIME)]
Zone = Annotated[str, AfterValidator(_check_zone)]
SigningSecret = Annotated[SecretStr | None, AfterValidator(_check_signing_secret)]
