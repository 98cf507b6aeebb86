"""What the Twilio door is made of, as the configuration has it."""

from fastapi import APIRouter

from bot import clock
from bot.config.settings import Settings
from bot.server.door_frame import DoorFrame, socket_url
from bot.server.twilio_door import MEDIA_PATH, twilio_router
from bot.server.twilio_people import TwilioPeople
from bot.workers.pool import House
from bot.workers.process import Process
from transports.media_stream.line import LinePatience
from transports.twilio.rest import TwilioRest


def twilio_routers(process: Process, frame: DoorFrame) -> list[APIRouter]:
    """Return the routes of Twilio's door; none when it is not enabled."""
    settings = process.settings
    twilio = settings.transports.twilio
    if not (twilio.enabled and twilio.auth_token):
        return []
    return [
        twilio_router(
            frame,
            auth_token=twilio.auth_token,
            rest=_rest(settings),
            patience=LinePatience(returns_within_s=twilio.returns_within_s),
            people=_twilio_people(settings, process, frame.house),
            briefs=process.briefs,
        )
    ]


def _twilio_people(settings: Settings, process: Process, house: House) -> TwilioPeople | None:
    """Return who calls people through Twilio; None: it needs our number and the account's id."""
    twilio, rest = settings.transports.twilio, _rest(settings)
    if rest is None or twilio.number is None:
        return None
    people = TwilioPeople(
        rest=rest,
        our_number=twilio.number,
        socket_url=socket_url(settings.server.public_url, MEDIA_PATH),
        house=house,
        tell=process.switchboard.tell,
        clock=clock.monotonic,
    )
    process.people.add("twilio", people)
    return people


def _rest(settings: Settings) -> TwilioRest | None:
    twilio = settings.transports.twilio
    if not (twilio.account_sid and twilio.auth_token):
        return None  # a hang-up then closes the media socket, and the call ends with the TwiML
    return TwilioRest(
        public_url=settings.server.public_url.rstrip("/"),
        api_url=twilio.api_url,
        account_sid=twilio.account_sid.get_secret_value(),
        auth_token=twilio.auth_token,
    )
