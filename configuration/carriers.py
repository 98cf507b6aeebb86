"""Carriers other than Twilio whose calls arrive over a websocket."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, SecretStr

from configuration.values import HttpUrl, Number, Seconds, SecondsOrZero, Section, Text


class CarrierSettings(Section):
    """The section of one carrier.

    Attributes:
        entry: What to set at the carrier; `{url}` is `server.public_url`.
        secrets: Fields that are filled from variables, and whether inbound calls need each of them.
        secrets_replaced_by: The key that can replace the secrets for inbound calls.
        dialling_key: The key that enables outbound calls, which need all secrets.
    """

    entry: ClassVar[str]
    secrets: ClassVar[Mapping[str, bool]]
    secrets_replaced_by: ClassVar[str] = ""
    dialling_key: ClassVar[str] = ""

    enabled: bool = False
    """Answer calls from this carrier."""


class TelnyxSettings(CarrierSettings):
    """Telnyx's telephone numbers, over Call Control and Media Streaming.

    Outbound calls also need `connection_id` and `number`.
    """

    entry = "set your Telnyx application's webhook to {url}/telnyx/voice"
    secrets = {"api_key": True, "public_key": True}  # noqa: RUF012 - declared above, never changed

    api_key_env: str = "TELNYX_API_KEY"
    """The variable that holds the API key."""
    api_key: SecretStr | None = None
    public_key_env: str = "TELNYX_PUBLIC_KEY"
    """The variable that holds the account's public key (base64), which verifies webhooks."""
    public_key: SecretStr | None = None
    number: Number | None = None
    """One of the account's numbers, from which calls are placed."""
    connection_id: Text | None = None
    """The id of the Call Control application that places calls, in quotes."""
    calls_per_s: Seconds = 1.0
    """Calls that the account may place per second."""
    machine_detection: Literal["detect", "premium", "disabled"] = "detect"
    """How Telnyx detects answering machines; `premium` is billed separately."""
    codec: Literal["PCMU", "PCMA", "L16"] = "PCMU"
    """`PCMU` and `PCMA` are telephone quality, `L16` is wideband."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream was lost waits for a new one. Zero: it ends at once."""
    api_url: HttpUrl = "https://api.telnyx.com"
    """The API's address."""


class PlivoSettings(CarrierSettings):
    """Plivo's telephone numbers, over audio streams."""

    entry = "set your Plivo application's answer URL to {url}/plivo/voice"
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
    """Calls that the account may place per second."""
    content_type: Literal[
        "audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"
    ] = "audio/x-mulaw;rate=8000"
    """The audio format. `audio/x-l16;rate=16000` is wideband, the others are telephone quality."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream was lost waits for a new one. Zero: it ends at once."""
    api_url: HttpUrl = "https://api.plivo.com"
    """The API's address."""


def _checked_network(value: Any) -> Any:
    """Return an address or a network in CIDR notation; refuse anything else."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("an address or a network, such as 203.0.113.0/28") from None


Network = Annotated[str, BeforeValidator(_checked_network)]


class ExotelSettings(CarrierSettings):
    """Exotel's telephone numbers, over the Voicebot applet.

    Outbound calls also need `number`, and the key and token of the account itself.
    """

    entry = "set your Exotel Voicebot applet's URL to {url}/exotel/media, as wss"
    secrets = {"api_key": True, "api_token": True, "account_sid": False}  # noqa: RUF012 - as above
    secrets_replaced_by = "allowed_addresses"
    dialling_key = "number"

    api_key_env: str = "EXOTEL_API_KEY"
    """The variable that holds the key in the applet's URL."""
    api_key: SecretStr | None = None
    api_token_env: str = "EXOTEL_API_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the token in the applet's URL."""
    api_token: SecretStr | None = None
    account_sid_env: str = "EXOTEL_ACCOUNT_SID"
    """The variable that holds the account's SID, for outbound calls."""
    account_sid: SecretStr | None = None
    allowed_addresses: tuple[Network, ...] = ()
    """Exotel's addresses or networks, such as `203.0.113.0/28`, instead of key and token or in
    addition to them.
    """
    number: Number | None = None
    """An ExoPhone of the account, from which calls are placed."""
    calls_per_s: Seconds = 2.0
    """Calls that the account may place per second."""
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
