"""The carriers beside Twilio whose calls come over a websocket."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, SecretStr

from bot.config.values import HttpUrl, Number, Seconds, SecondsOrZero, Section, Text


class CarrierSettings(Section):
    """What every carrier's section says.

    Attributes:
        entry: What to set at the carrier; `{url}` is `server.public_url`.
        secrets: The fields that variables fill, and whether the door needs each.
        or_instead: The key that can be given in place of them.
        dials_with: The key with which calls are placed, for which all its secrets are needed.
    """

    entry: ClassVar[str]
    secrets: ClassVar[Mapping[str, bool]]
    or_instead: ClassVar[str] = ""
    dials_with: ClassVar[str] = ""

    enabled: bool = False
    """Answer calls of this carrier."""


class TelnyxSettings(CarrierSettings):
    """Telnyx's telephone numbers, over Call Control and Media Streaming.

    With `connection_id` and `number`, calls are placed, too.
    """

    entry = "have your Telnyx application's webhook ask {url}/telnyx/voice"
    secrets = {"api_key": True, "public_key": True}  # noqa: RUF012 - declared above, never changed

    api_key_env: str = "TELNYX_API_KEY"
    """The variable that holds the API key."""
    api_key: SecretStr | None = None
    public_key_env: str = "TELNYX_PUBLIC_KEY"
    """The variable that holds the account's public key (base64), which checks webhooks."""
    public_key: SecretStr | None = None  # base64, of the account: it checks webhooks
    number: Number | None = None
    """One of the account's numbers, from which calls are placed."""
    connection_id: Text | None = None
    """The Call Control application that places calls, in quotes."""
    calls_per_s: Seconds = 1.0
    """Calls that the account may place in a second."""
    machine_detection: Literal["detect", "premium", "disabled"] = "detect"
    """How Telnyx listens for answering machines; `premium` is billed apart."""
    codec: Literal["PCMU", "PCMA", "L16"] = "PCMU"
    """`PCMU` and `PCMA` are telephone quality, `L16` is wider sound."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream died waits for another one. Zero ends it at once."""
    api_url: HttpUrl = "https://api.telnyx.com"
    """Another server with the same API."""


class PlivoSettings(CarrierSettings):
    """Plivo's telephone numbers, over audio streams."""

    entry = "have your Plivo application's answer URL ask {url}/plivo/voice"
    secrets = {"auth_id": True, "auth_token": True}  # noqa: RUF012 - declared above, never changed

    auth_id_env: str = "PLIVO_AUTH_ID"
    """The variable that holds the auth ID."""
    auth_id: SecretStr | None = None
    auth_token_env: str = "PLIVO_AUTH_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the auth token."""
    auth_token: SecretStr | None = None
    number: Number | None = None
    """One of the account's numbers, from which calls are placed."""
    calls_per_s: Seconds = 2.0
    """Calls that the account may place in a second."""
    content_type: Literal[
        "audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"
    ] = "audio/x-mulaw;rate=8000"
    """The sound's format; `audio/x-l16` is wider sound."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream died waits for another one. Zero ends it at once."""
    api_url: HttpUrl = "https://api.plivo.com"
    """Another server with the same API."""


def _network(value: Any) -> Any:
    """Let an address stand for the network of itself alone, and refuse what is neither."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("an address or a network, such as 203.0.113.0/28") from None


Network = Annotated[str, BeforeValidator(_network)]


class ExotelSettings(CarrierSettings):
    """Exotel's telephone numbers, over the Voicebot applet.

    With `number`, calls are placed, too; then key and token are the account's own.
    """

    entry = "have your Exotel Voicebot applet connect to {url}/exotel/media, as wss"
    secrets = {"api_key": True, "api_token": True, "account_sid": False}  # noqa: RUF012 - as above
    or_instead = "allowed_addresses"
    dials_with = "number"

    api_key_env: str = "EXOTEL_API_KEY"
    """The variable that holds the key in the applet's URL."""
    api_key: SecretStr | None = None
    api_token_env: str = "EXOTEL_API_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the token in the applet's URL."""
    api_token: SecretStr | None = None
    account_sid_env: str = "EXOTEL_ACCOUNT_SID"
    """The variable that holds the account's SID, for calls that are placed."""
    account_sid: SecretStr | None = None
    allowed_addresses: tuple[Network, ...] = ()
    """Exotel's addresses or networks, such as `203.0.113.0/28`, instead of key and token or in
    addition to them.
    """
    number: Number | None = None
    """An ExoPhone of the account, from which calls are placed."""
    calls_per_s: Seconds = 2.0
    """Calls that the account may place in a second."""
    api_url: HttpUrl = "https://api.exotel.com"
    """The API of the account's region."""


class CarrierSections(Section):
    """The carriers' sections, by their names under `transports`."""

    telnyx: TelnyxSettings = TelnyxSettings()
    plivo: PlivoSettings = PlivoSettings()
    exotel: ExotelSettings = ExotelSettings()


CARRIERS: Final[Mapping[str, type[CarrierSettings]]] = {
    name: type(field.default) for name, field in CarrierSections.model_fields.items()
}
