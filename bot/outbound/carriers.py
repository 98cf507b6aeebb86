"""Which carrier places the calls of this configuration."""

import asyncio
from typing import Protocol, runtime_checkable

from bot.config.settings import Settings
from bot.outbound.call_ledger import CallLedger
from campaigns.carrier import CampaignCarrier, DialRefusedError, DialRequest, FoundCall
from campaigns.plivo_carrier import PlivoCarrier
from campaigns.twilio_carrier import TwilioCarrier
from transports.plivo_calls import PlivoCalls
from transports.plivo_rest import PlivoRest
from transports.twilio_calls import TwilioCalls
from transports.twilio_rest import TwilioRest


@runtime_checkable
class Closing(Protocol):
    """A carrier that does something beside the dialer."""

    def close(self) -> None:
        """Have nothing ring on."""
        ...


def carrier_of(
    settings: Settings, ledger: CallLedger, tasks: asyncio.TaskGroup
) -> CampaignCarrier | None:
    """Return the carrier; None: none is configured that could place calls.

    The order is Twilio, Plivo, LiveKit: the first that can.

    Args:
        settings: The configuration.
        ledger: Knows what callbacks said, and the carrier's ids by our own.
        tasks: Owns what a carrier does beside the dialer.
    """
    return _twilio(settings, ledger) or _plivo(settings, ledger) or _livekit(settings, tasks)


def _twilio(settings: Settings, ledger: CallLedger) -> CampaignCarrier | None:
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
        refs=ledger.refs,
        calls_per_s=twilio.calls_per_s,
    )


def _plivo(settings: Settings, ledger: CallLedger) -> CampaignCarrier | None:
    plivo = settings.transports.plivo
    if not (plivo.enabled and plivo.auth_id and plivo.auth_token and plivo.number):
        return None
    rest = PlivoRest(auth_id=plivo.auth_id, auth_token=plivo.auth_token, api_url=plivo.api_url)
    return PlivoCarrier(
        calls=PlivoCalls(rest=rest, public_url=settings.server.public_url.rstrip("/")),
        number=plivo.number,
        heard=ledger.legs.of,
        refs=ledger.refs,
        calls_per_s=plivo.calls_per_s,
    )


def _livekit(settings: Settings, tasks: asyncio.TaskGroup) -> CampaignCarrier | None:
    livekit = settings.transports.livekit
    key, secret = livekit.api_key, livekit.api_secret
    if not (livekit.enabled and livekit.sip.server and key and secret):
        return None
    # Here, and not above: its library has 28 MB, which a server without this door does without.
    from campaigns.livekit_carrier import LivekitCarrier  # noqa: PLC0415
    from transports.livekit_dial import open_exchange  # noqa: PLC0415

    return LivekitCarrier(
        open_exchange=lambda: open_exchange(livekit.url, key.get_secret_value(), secret),
        trunk=livekit.sip.name,
        room_prefix=livekit.room_prefix,
        tasks=tasks,
        media_timeout_s=livekit.sip.media_timeout_s,
    )


class NoCarrier:
    """Where none is configured."""

    async def dial(self, request: DialRequest) -> str:
        """Call nobody."""
        raise DialRefusedError("no carrier is configured")

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Find nothing."""
        return None
