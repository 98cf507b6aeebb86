"""Choice of the carrier that places calls, from the configuration."""

import asyncio
from typing import Protocol, runtime_checkable

from bot.config.settings import Settings
from campaigns.carrier import CampaignCarrier, CarrierNews, DialRefusedError, DialRequest, FoundCall
from campaigns.exotel_carrier import ExotelCarrier
from campaigns.plivo_carrier import PlivoCarrier
from campaigns.telnyx_carrier import TelnyxCarrier
from campaigns.twilio_carrier import TwilioCarrier
from transports.exotel.calls import ExotelCalls, ExotelRest
from transports.plivo.calls import PlivoCalls, PlivoRest
from transports.telnyx.calls import TelnyxCalls, TelnyxRest
from transports.twilio.calls import TwilioCalls, TwilioRest


@runtime_checkable
class Closing(Protocol):
    """A carrier with background tasks of its own."""

    def close(self) -> None:
        """Stop all ringing."""
        ...


def carrier_of(
    settings: Settings, news: CarrierNews, tasks: asyncio.TaskGroup
) -> CampaignCarrier | None:
    """Return the first configured carrier, in the order below; `None` if there is none.

    Args:
        settings: The configuration.
        news: What callbacks have reported, such as the carrier's ids of our dials.
        tasks: Owns the carrier's background tasks.
    """
    return (
        _twilio(settings, news)
        or _telnyx(settings, news)
        or _plivo(settings, news)
        or _exotel(settings, news)
        or _livekit(settings, tasks)
    )


def _twilio(settings: Settings, news: CarrierNews) -> CampaignCarrier | None:
    twilio = settings.transports.twilio
    if not (twilio.enabled and twilio.account_sid and twilio.auth_token and twilio.number):
        return None
    public_url = settings.server.public_url.rstrip("/")
    rest = TwilioRest(
        account_sid=twilio.account_sid.get_secret_value(),
        auth_token=twilio.auth_token,
        api_url=twilio.api_url,
        public_url=public_url,
    )
    return TwilioCarrier(
        calls=TwilioCalls(rest=rest, public_url=public_url),
        number=twilio.number,
        news=news,
        calls_per_s=twilio.calls_per_s,
    )


def _telnyx(settings: Settings, news: CarrierNews) -> CampaignCarrier | None:
    telnyx = settings.transports.telnyx
    if not (telnyx.enabled and telnyx.api_key and telnyx.connection_id and telnyx.number):
        return None
    calls = TelnyxCalls(
        rest=TelnyxRest(api_key=telnyx.api_key, api_url=telnyx.api_url),
        connection_id=telnyx.connection_id,
        public_url=settings.server.public_url.rstrip("/"),
    )
    return TelnyxCarrier(
        calls=calls,
        number=telnyx.number,
        news=news,
        machine=telnyx.machine_detection,
        calls_per_s=telnyx.calls_per_s,
    )


def _plivo(settings: Settings, news: CarrierNews) -> CampaignCarrier | None:
    plivo = settings.transports.plivo
    if not (plivo.enabled and plivo.auth_id and plivo.auth_token and plivo.number):
        return None
    rest = PlivoRest(auth_id=plivo.auth_id, auth_token=plivo.auth_token, api_url=plivo.api_url)
    return PlivoCarrier(
        calls=PlivoCalls(rest=rest, public_url=settings.server.public_url.rstrip("/")),
        number=plivo.number,
        news=news,
        calls_per_s=plivo.calls_per_s,
    )


def _exotel(settings: Settings, news: CarrierNews) -> CampaignCarrier | None:
    exotel = settings.transports.exotel
    key, token = exotel.api_key, exotel.api_token
    if not (exotel.enabled and exotel.account_sid and key and token and exotel.number):
        return None
    rest = ExotelRest(
        account_sid=exotel.account_sid, api_key=key, api_token=token, api_url=exotel.api_url
    )
    return ExotelCarrier(
        calls=ExotelCalls(rest=rest, public_url=settings.server.public_url.rstrip("/")),
        number=exotel.number,
        news=news,
        calls_per_s=exotel.calls_per_s,
    )


def _livekit(settings: Settings, tasks: asyncio.TaskGroup) -> CampaignCarrier | None:
    livekit = settings.transports.livekit
    key, secret = livekit.api_key, livekit.api_secret
    if not (livekit.enabled and livekit.sip.server and key and secret):
        return None
    # Imported here because the library takes 28 MB, which a server without LiveKit does not need.
    from campaigns.livekit_carrier import LivekitCarrier  # noqa: PLC0415
    from transports.livekit.dial import open_exchange  # noqa: PLC0415

    return LivekitCarrier(
        open_exchange=lambda: open_exchange(livekit.url, key.get_secret_value(), secret),
        trunk=livekit.sip.name,
        room_prefix=livekit.room_prefix,
        tasks=tasks,
        media_timeout_s=livekit.sip.media_timeout_s,
    )


class NoCarrier:
    """The carrier if none is configured."""

    async def dial(self, request: DialRequest) -> str:
        """Refuse every call."""
        raise DialRefusedError("no carrier is configured")

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return `None`."""
        return None
