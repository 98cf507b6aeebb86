"""The configured telephone carriers: their REST clients and routes, and outbound calls."""

import asyncio
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from fastapi import APIRouter

from configuration.carriers import ExotelSettings, PlivoSettings, TelnyxSettings
from configuration.settings import LivekitSettings, Settings, TransportsSettings, TwilioSettings
from runtime import clock
from transports.dialling import (
    CampaignCarrier,
    CarrierNews,
)
from transports.exotel.dialling import ExotelCarrier
from transports.exotel.rest import ExotelRest
from transports.exotel.routes import ExotelAuthenticator, ExotelRoutes
from transports.leg import People
from transports.media_stream.line import LinePatience
from transports.media_stream.webhooks import CarrierHost
from transports.plivo.dialling import PlivoCarrier
from transports.plivo.rest import PlivoRest
from transports.plivo.routes import PlivoRoutes
from transports.telnyx.dialect import CODECS
from transports.telnyx.dialling import VOICE_PATH as TELNYX_VOICE_PATH
from transports.telnyx.dialling import TelnyxCarrier
from transports.telnyx.rest import TelnyxRest
from transports.telnyx.routes import TelnyxRoutes
from transports.telnyx.signature import public_key
from transports.twilio.dialling import TwilioCarrier
from transports.twilio.people import TwilioPeople
from transports.twilio.rest import TwilioRest
from transports.twilio.routes import MEDIA_PATH, TwilioRoutes


def carrier_routers(
    transports: TransportsSettings, host: CarrierHost, people: People
) -> Iterator[APIRouter]:
    """Yield the routes of each enabled carrier that streams over a websocket and has its keys.

    Args:
        transports: Settings of the carriers.
        host: The server's side of the routes.
        people: Collects what can call a person for a transfer, by transport.
    """
    if transports.twilio.enabled:
        yield from _twilio_routes(transports.twilio, host, people)
    if transports.telnyx.enabled:
        yield from _telnyx_routes(transports.telnyx, host)
    if transports.plivo.enabled:
        yield from _plivo_routes(transports.plivo, host)
    if transports.exotel.enabled:
        exotel = transports.exotel
        authenticator = ExotelAuthenticator(
            key=exotel.api_key, token=exotel.api_token, addresses=exotel.allowed_addresses
        )
        yield ExotelRoutes(host, authenticator=authenticator).router


def _twilio_routes(
    settings: TwilioSettings, host: CarrierHost, people: People
) -> Iterator[APIRouter]:
    """Yield the routes if there is a token; add to `people` if Twilio can also call a person."""
    if not settings.auth_token:
        return
    rest, calls_people = _twilio_rest(settings, host.public_url), None
    if rest is not None and settings.number is not None:
        calls_people = TwilioPeople(
            rest=rest,
            our_number=settings.number,
            socket_url=host.socket_url(MEDIA_PATH, host.pool.name),
            emit=host.emit,
            clock=host.clock,
            key_values=host.pool.key_values,
        )
        people.add("twilio", calls_people)
    yield TwilioRoutes(
        host,
        auth_token=settings.auth_token,
        rest=rest,  # without one, hanging up closes the socket, and then the TwiML ends the call
        patience=LinePatience(returns_within_s=settings.returns_within_s),
        people=calls_people,
    ).router


def _telnyx_routes(settings: TelnyxSettings, host: CarrierHost) -> Iterator[APIRouter]:
    """Yield the routes if there are an API key and a valid public key."""
    if not (settings.api_key and settings.public_key):
        return
    key = public_key(settings.public_key.get_secret_value())
    if key is None:
        return  # reported by the configuration's checks
    rest = TelnyxRest(
        api_key=settings.api_key,
        api_url=settings.api_url,
        codec=settings.codec,
        rate_hz=CODECS[settings.codec].rate_hz,
        webhook_url=f"{host.public_url}{TELNYX_VOICE_PATH}" if host.machine else "",
    )
    yield TelnyxRoutes(
        host,
        key=key,
        rest=rest,
        utc_s=lambda: clock.utc_now().timestamp(),
        patience=LinePatience(returns_within_s=settings.returns_within_s),
    ).router


def _plivo_routes(settings: PlivoSettings, host: CarrierHost) -> Iterator[APIRouter]:
    """Yield the routes if there are an account's id and a token."""
    rest = _plivo_rest(settings, host.public_url)
    if rest is None or settings.auth_token is None:
        return
    yield PlivoRoutes(
        host,
        auth_token=settings.auth_token,
        rest=rest,
        content_type=settings.content_type,
        patience=LinePatience(returns_within_s=settings.returns_within_s),
    ).router


def _twilio_rest(settings: TwilioSettings, public_url: str) -> TwilioRest | None:
    """Return Twilio's API; `None` without the account's SID and its token."""
    if not (settings.account_sid and settings.auth_token):
        return None
    return TwilioRest(
        account_sid=settings.account_sid.get_secret_value(),
        auth_token=settings.auth_token,
        api_url=settings.api_url,
        public_url=public_url,
    )


def _plivo_rest(settings: PlivoSettings, public_url: str) -> PlivoRest | None:
    """Return Plivo's API; `None` without the account's id and its token."""
    if not (settings.auth_id and settings.auth_token):
        return None
    return PlivoRest(
        auth_id=settings.auth_id,
        auth_token=settings.auth_token,
        api_url=settings.api_url,
        public_url=public_url,
    )


@runtime_checkable
class ClosableCarrier(Protocol):
    """A carrier that must be closed, because it has background tasks of its own."""

    def close(self) -> None:
        """Cancel all dials that are still ringing."""
        ...


def carrier_of(
    settings: Settings, news: CarrierNews, tasks: asyncio.TaskGroup
) -> CampaignCarrier | None:
    """Return Twilio, Telnyx, Plivo, Exotel or LiveKit: the first that can dial; else `None`.

    Args:
        settings: The configuration.
        news: Reports from carriers' callbacks, such as the carrier's ids of our dials.
        tasks: Owns the carrier's background tasks.
    """
    transports, public_url = settings.transports, settings.server.own_url
    return (
        _twilio_carrier(transports.twilio, public_url, news)
        or _telnyx_carrier(transports.telnyx, public_url, news)
        or _plivo_carrier(transports.plivo, public_url, news)
        or _exotel_carrier(transports.exotel, public_url, news)
        or _livekit_carrier(transports.livekit, tasks)
    )


def _twilio_carrier(
    settings: TwilioSettings, public_url: str, news: CarrierNews
) -> CampaignCarrier | None:
    """Return Twilio for campaigns; `None` if it is disabled, or has no credentials or number."""
    rest = _twilio_rest(settings, public_url)
    if not (settings.enabled and rest and settings.number):
        return None
    return TwilioCarrier(
        rest=rest,
        number=settings.number,
        news=news,
        calls_per_s=settings.calls_per_s,
    )


def _telnyx_carrier(
    settings: TelnyxSettings, public_url: str, news: CarrierNews
) -> CampaignCarrier | None:
    """Return Telnyx for campaigns; `None` if it is disabled, or lacks key, connection or number."""
    key, connection_id = settings.api_key, settings.connection_id
    if not (settings.enabled and key and connection_id and settings.number):
        return None
    rest = TelnyxRest(api_key=key, api_url=settings.api_url)
    return TelnyxCarrier(
        rest=rest,
        connection_id=connection_id,
        public_url=public_url,
        number=settings.number,
        news=news,
        machine=settings.machine_detection,
        calls_per_s=settings.calls_per_s,
    )


def _plivo_carrier(
    settings: PlivoSettings, public_url: str, news: CarrierNews
) -> CampaignCarrier | None:
    """Return Plivo for campaigns; `None` if it is disabled, or has no credentials or number."""
    rest = _plivo_rest(settings, public_url)
    if not (settings.enabled and rest and settings.number):
        return None
    return PlivoCarrier(
        rest=rest,
        number=settings.number,
        news=news,
        calls_per_s=settings.calls_per_s,
    )


def _exotel_carrier(
    settings: ExotelSettings, public_url: str, news: CarrierNews
) -> CampaignCarrier | None:
    """Return Exotel for campaigns; `None` if it is disabled, or has no credentials or number."""
    account, key, token = settings.account_sid, settings.api_key, settings.api_token
    if not (settings.enabled and account and key and token and settings.number):
        return None
    rest = ExotelRest(account_sid=account, api_key=key, api_token=token, api_url=settings.api_url)
    return ExotelCarrier(
        rest=rest,
        public_url=public_url,
        number=settings.number,
        news=news,
        calls_per_s=settings.calls_per_s,
    )


def _livekit_carrier(settings: LivekitSettings, tasks: asyncio.TaskGroup) -> CampaignCarrier | None:
    """Return LiveKit's SIP trunk for campaigns; `None` if disabled, or without server or key."""
    key, secret = settings.api_key, settings.api_secret
    if not (settings.enabled and settings.sip.server and key and secret):
        return None
    # Imported here because the library takes 28 MB, which a server without LiveKit does not need.
    from transports.livekit.dialling import LivekitCarrier, open_exchange  # noqa: PLC0415

    return LivekitCarrier(
        open_exchange=lambda: open_exchange(settings.url, key.get_secret_value(), secret),
        trunk=settings.sip.name,
        room_prefix=settings.room_prefix,
        tasks=tasks,
        media_timeout_s=settings.sip.media_timeout_s,
    )
