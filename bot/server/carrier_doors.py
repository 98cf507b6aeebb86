"""Routes of Telnyx, Plivo and Exotel, as far as the configuration enables them."""

from collections.abc import Iterator

from fastapi import APIRouter

from bot import clock
from bot.call.briefs import Briefs
from bot.config.carriers import ExotelSettings, PlivoSettings, TelnyxSettings
from bot.config.settings import TransportsSettings
from bot.server import telnyx_signature
from bot.server.carrier_door import DoorFrame
from bot.server.exotel_door import ExotelProof, exotel_router
from bot.server.plivo_door import plivo_router
from bot.server.telnyx_door import telnyx_router
from transports.media_stream.line import LinePatience
from transports.plivo.calls import PlivoRest
from transports.telnyx.calls import TelnyxRest
from transports.telnyx.dialect import CODECS


def carrier_routers(
    transports: TransportsSettings, frame: DoorFrame, briefs: Briefs
) -> Iterator[APIRouter]:
    """Yield the routes of each enabled carrier.

    Args:
        transports: Settings of the carriers.
        frame: Dependencies of the routes.
        briefs: Instructions of agents for campaign calls.
    """
    if transports.telnyx.enabled:
        yield from _telnyx(transports.telnyx, frame, briefs)
    if transports.plivo.enabled:
        yield from _plivo(transports.plivo, frame, briefs)
    if transports.exotel.enabled:
        yield _exotel(transports.exotel, frame, briefs)


def _telnyx(settings: TelnyxSettings, frame: DoorFrame, briefs: Briefs) -> Iterator[APIRouter]:
    if not (settings.api_key and settings.public_key):
        return
    key = telnyx_signature.public_key(settings.public_key.get_secret_value())
    if key is None:
        return  # reported by the configuration's checks
    rest = TelnyxRest(
        api_key=settings.api_key,
        api_url=settings.api_url,
        codec=settings.codec,
        rate_hz=CODECS[settings.codec].rate_hz,
    )
    yield telnyx_router(
        frame,
        key=key,
        rest=rest,
        utc_s=lambda: clock.utc_now().timestamp(),
        patience=LinePatience(returns_within_s=settings.returns_within_s),
        briefs=briefs,
    )


def _plivo(settings: PlivoSettings, frame: DoorFrame, briefs: Briefs) -> Iterator[APIRouter]:
    if not (settings.auth_id and settings.auth_token):
        return
    rest = PlivoRest(
        auth_id=settings.auth_id,
        auth_token=settings.auth_token,
        api_url=settings.api_url,
        public_url=frame.public_url,
    )
    yield plivo_router(
        frame,
        auth_token=settings.auth_token,
        rest=rest,
        content_type=settings.content_type,
        patience=LinePatience(returns_within_s=settings.returns_within_s),
        briefs=briefs,
    )


def _exotel(settings: ExotelSettings, frame: DoorFrame, briefs: Briefs) -> APIRouter:
    proof = ExotelProof(
        key=settings.api_key, token=settings.api_token, addresses=settings.allowed_addresses
    )
    return exotel_router(frame, proof=proof, briefs=briefs)
