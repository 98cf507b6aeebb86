"""Which carrier places the calls of this configuration."""

from collections.abc import MutableMapping

from bot.config.settings import Settings
from campaigns.carrier import CampaignCarrier, DialRefusedError, DialRequest, FoundCall
from campaigns.twilio_carrier import TwilioCarrier
from transports.twilio_calls import TwilioCalls
from transports.twilio_rest import TwilioRest


def carrier_of(settings: Settings, refs: MutableMapping[str, str]) -> CampaignCarrier | None:
    """Return the carrier; None: none is configured that could place calls.

    Args:
        settings: The configuration.
        refs: Where the carrier's ids are found by our own, as callbacks tell them.
    """
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
        refs=refs,
        calls_per_s=twilio.calls_per_s,
    )


class NoCarrier:
    """Where none is configured."""

    async def dial(self, request: DialRequest) -> str:
        """Call nobody."""
        raise DialRefusedError("no carrier is configured")

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Find nothing."""
        return None
