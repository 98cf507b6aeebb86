"""Checks our account, number and webhook at each carrier, and our key at LiveKit."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from bot.doctor.finding import SERVER_ANSWER_S, DoctorFinding, reach
from calls.sentences import Vendor, cure_of, explain
from configuration.settings import Settings
from fallbacks.failure import ServiceError

if TYPE_CHECKING:
    from transports.rest import NumberSetup  # aiohttp takes a while, and every command imports this

WEBHOOKS: Final = {"twilio": "/twilio/voice", "telnyx": "/telnyx/voice", "plivo": "/plivo/voice"}
AccountReader: TypeAlias = Callable[[], Awaitable["NumberSetup"]]


async def check_telephony(settings: Settings, *, online: bool) -> list[DoctorFinding]:
    """Return a finding for each enabled carrier, LiveKit included.

    With `online`, the carriers' accounts are read, LiveKit's rooms are listed, and a finding for
    the host of `server.public_url` is added. Otherwise only the connections are checked.
    """
    checks: list[Awaitable[DoctorFinding]] = []
    for name in _enabled_carriers(settings):
        url = getattr(settings.transports, name).api_url
        checks.append(_check_carrier(settings, name) if online else _check_connection(name, url))
    if checks and online:
        checks.append(_check_host_name(settings.server.public_url))
    livekit = settings.transports.livekit
    if livekit.enabled:
        checks.append(
            _check_livekit(settings) if online else _check_connection("livekit", livekit.url)
        )
    return await asyncio.gather(*checks)


def _enabled_carriers(settings: Settings) -> Iterator[str]:
    for name in ("twilio", "telnyx", "plivo", "exotel"):
        if getattr(settings.transports, name).enabled:
            yield name


async def _check_connection(name: str, url: str) -> DoctorFinding:
    text, ok = await reach(url)
    return DoctorFinding(about=f"transports.{name}", text=text, ok=ok)


async def _check_host_name(public_url: str) -> DoctorFinding:
    """Resolve the host name of `server.public_url`, as carriers do."""
    host = urlsplit(public_url).hostname or ""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        text, ok = f"{host} does not resolve ({why}); carriers cannot reach this server", False
    else:
        addresses = sorted({str(address[4][0]) for address in found})
        text, ok = f"{host} is {', '.join(addresses)}", True
    return DoctorFinding(about="server.public_url", text=text, ok=ok)


async def _check_carrier(settings: Settings, name: str) -> DoctorFinding:
    """Check the account, the number and its webhook; no problem if a credential is missing."""
    about, section = f"transports.{name}", getattr(settings.transports, name)
    read, key = _account_reader(name, section)
    if read is None:
        return DoctorFinding(about=about, text=f"not read: {key} is not set", ok=True)
    vendor = Vendor(title=name.title(), key=key, place=about)
    try:
        setup = await read()
    except ServiceError as error:
        failure = error.failure
        text = explain(failure.kind, failure.reason, vendor)
        cure = cure_of(failure.kind)
        return DoctorFinding(about=about, text=text, ok=False, cure=cure)
    path = WEBHOOKS.get(name)
    expected = f"{settings.server.public_url}{path}" if path else None
    wrong = _why_no_calls(setup, name.title(), section.number, expected)
    if wrong:
        return DoctorFinding(about=about, text=wrong, ok=False)
    webhook = f", and {section.number} has our webhook" if setup.webhook else ""
    text = f"the account is {setup.account}{webhook}"
    if settings.server.machine and section.number and setup.fallback == "":
        text += (
            f"; {section.number} has no fallback URL: set it to {expected}, so that a call that"
            " meets an error is sent to another machine"
        )
    return DoctorFinding(about=about, text=text, ok=True)


def _why_no_calls(
    setup: "NumberSetup", title: str, number: str | None, expected: str | None
) -> str:
    """Return why calls would not arrive; empty if they would."""
    if setup.account != "active":
        return f"{title} says that the account is {setup.account}"
    if number and not setup.has_number:
        return f"{number} is not a number of this {title} account"
    if number and expected and setup.webhook is not None and setup.webhook != expected:
        there = setup.webhook or "nowhere"
        return f"{title} sends calls to {number} to {there}; set its webhook to {expected}"
    return ""


def _account_reader(name: str, section: Any) -> tuple[AccountReader | None, str]:
    """Return a function that reads a carrier's account, and the name of its key's variable.

    If a credential is missing, the function is `None` and the variable is the one to set.
    """
    # Each carrier's REST client is imported where it is used: Twilio's library is large.
    if name == "twilio":
        from transports.twilio.rest import TwilioRest  # noqa: PLC0415

        if section.account_sid is None:
            return None, section.account_sid_env
        rest = TwilioRest(
            account_sid=section.account_sid.get_secret_value(),
            auth_token=section.auth_token,
            api_url=section.api_url,
        )
        return lambda: rest.number_setup(section.number), section.auth_token_env
    if name == "telnyx":
        from transports.telnyx.rest import TelnyxRest  # noqa: PLC0415

        telnyx = TelnyxRest(api_key=section.api_key, api_url=section.api_url)
        return lambda: telnyx.number_setup(section.number), section.api_key_env
    if name == "plivo":
        from transports.plivo.rest import PlivoRest  # noqa: PLC0415

        plivo = PlivoRest(
            auth_id=section.auth_id, auth_token=section.auth_token, api_url=section.api_url
        )
        return lambda: plivo.number_setup(section.number), section.auth_token_env
    return _exotel_reader(section)


def _exotel_reader(section: Any) -> tuple[AccountReader | None, str]:
    """Return Exotel's reader and variable; see `_account_reader`."""
    from transports.exotel.rest import ExotelRest  # noqa: PLC0415

    for key in ("account_sid", "api_key", "api_token"):
        if getattr(section, key) is None:
            return None, getattr(section, f"{key}_env")
    rest = ExotelRest(
        account_sid=section.account_sid,
        api_key=section.api_key,
        api_token=section.api_token,
        api_url=section.api_url,
    )
    return rest.number_setup, section.api_token_env


async def _check_livekit(settings: Settings) -> DoctorFinding:
    """List the rooms, which works only with a valid key and secret."""
    from transports.livekit.rooms import LivekitRooms, RoomsError  # noqa: PLC0415 - 28 MB

    livekit = settings.transports.livekit
    if livekit.api_key is None or livekit.api_secret is None:
        return DoctorFinding(about="transports.livekit", text="has no key", ok=False)
    rooms = LivekitRooms(
        url=livekit.url, api_key=livekit.api_key, api_secret=livekit.api_secret, server_id="doctor"
    )
    try:
        await rooms.occupied("")
    except RoomsError as error:
        return DoctorFinding(about="transports.livekit", text=f"{livekit.url}: {error}", ok=False)
    finally:
        await rooms.close()
    text = f"{livekit.url} accepts the key and its secret"
    return DoctorFinding(about="transports.livekit", text=text, ok=True)
