"""`holdline sip setup`: registers our numbers with LiveKit, and prints what the carrier needs."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from bot.cli.options import ConfigOption
from configuration.loading import load
from configuration.settings import LivekitSettings, Settings, SipSettings
from runtime.exits import CommandError, UsageError

if TYPE_CHECKING:
    from transports.livekit.trunks import Arranged, Credentials, ExchangePlan

SIP: str = "transports.livekit.sip"


def register_numbers(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="ACTION", show_default=False, help="setup: create or update trunks."
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Register your telephone numbers with LiveKit.

    Creates or updates the trunks and a rule that gives each call a room of its own. A second run
    changes nothing. Prints what to enter at the carrier.
    """
    if action != "setup":
        raise UsageError(f'sip takes "setup", not "{action or ""}"')
    settings = load(config, keys=False).settings
    livekit = settings.transports.livekit
    key, secret = _keys_or_refuse(livekit)
    plan = _plan_exchange(livekit)
    for line in (
        *asyncio.run(_set_up(livekit.url, key, secret, plan)),
        *_advice_for_carrier(settings),
    ):
        typer.echo(line)


async def _set_up(url: str, key: SecretStr, secret: SecretStr, plan: "ExchangePlan") -> list[str]:
    from transports.livekit.trunks import ExchangeError, set_up  # noqa: PLC0415 - loads slowly

    try:
        arranged_parts = await set_up(url, key.get_secret_value(), secret, plan)
    except ExchangeError as error:
        raise CommandError(f"LiveKit at {url} {error}") from error
    return [_line_about_part(part) for part in arranged_parts]


def _line_about_part(arranged: "Arranged") -> str:
    which = f" ({', '.join(arranged.fields)})" if arranged.fields else ""
    return f"{arranged.part} {arranged.id}: {arranged.change}{which}"


def _keys_or_refuse(livekit: LivekitSettings) -> tuple[SecretStr, SecretStr]:
    if livekit.api_key is None:
        raise UsageError(_not_set("transports.livekit.api_key_env", livekit.api_key_env))
    if livekit.api_secret is None:
        raise UsageError(_not_set("transports.livekit.api_secret_env", livekit.api_secret_env))
    return livekit.api_key, livekit.api_secret


def _not_set(key: str, variable: str) -> str:
    return f"{key} names {variable}, which is not set; put it in the environment or .env"


def _plan_exchange(livekit: LivekitSettings) -> "ExchangePlan":
    """Return what to register; raise `UsageError` if a number or half of a login is missing."""
    from transports.livekit.trunks import (  # noqa: PLC0415 - loads slowly
        ExchangePlan,
        InboundTrunk,
        OutboundTrunk,
    )

    sip = livekit.sip
    if not sip.all_numbers:
        raise UsageError(
            f"{SIP}.number is not set; set the number that callers dial, such as +15550100"
        )
    inbound = InboundTrunk(
        numbers=sip.all_numbers,
        allowed_addresses=sip.allowed_addresses,
        credentials=_inbound_login(sip),
        media_timeout_s=sip.media_timeout_s,
    )
    outbound = (
        OutboundTrunk(
            address=sip.server,
            numbers=sip.all_numbers,
            credentials=_outbound_login(sip),
            transport=sip.transport,
        )
        if sip.server
        else None
    )
    return ExchangePlan(
        name=sip.name, room_prefix=livekit.room_prefix, inbound=inbound, outbound=outbound
    )


def _inbound_login(sip: SipSettings) -> "Credentials | None":
    if sip.inbound_username and sip.inbound_password is None:
        raise UsageError(_not_set(f"{SIP}.inbound_password_env", sip.inbound_password_env))
    if sip.inbound_password and not sip.inbound_username:
        raise UsageError(
            f"{SIP}.inbound_username is not set, but {sip.inbound_password_env} is; set both"
        )
    return _login_if_complete(sip.inbound_username, sip.inbound_password)


def _outbound_login(sip: SipSettings) -> "Credentials | None":
    if bool(sip.username) != bool(sip.password):
        missing = "SIP_PASSWORD" if sip.username else "SIP_USERNAME"
        raise UsageError(f"{missing} is not set; {SIP} needs both a username and a password")
    return _login_if_complete(sip.username, sip.password)


def _login_if_complete(username: str | None, password: SecretStr | None) -> "Credentials | None":
    from transports.livekit.trunks import Credentials  # noqa: PLC0415 - loads slowly

    return Credentials(username=username, password=password) if username and password else None


def _advice_for_carrier(settings: Settings) -> Iterator[str]:
    """Yield the lines that say what to enter at the carrier."""
    sip = settings.transports.livekit.sip
    yield ""
    yield "At the carrier, enter:"
    yield f"  calls to {', '.join(sip.all_numbers)} go to {_sip_address(settings)}"
    if sip.inbound_username:
        password = f"the password in {sip.inbound_password_env}"
        yield f"  with the login {sip.inbound_username} and {password}"
    yield "  codec PCMA or PCMU (G722 works, opus does not); DTMF as RFC 4733 telephone-event"
    yield "  no registration: LiveKit accepts calls and never registers"
    if sip.server:
        login = f", with the login {sip.username}" if sip.username else ", known by its address"
        yield f"  calls from {settings.server.public_ip or 'this LiveKit'} to {sip.server}{login}"
    if not sip.allowed_addresses and not sip.inbound_username:
        yield ""
        yield (
            f"Anyone who finds the port can call in. Set the carrier's addresses in "
            f"{SIP}.allowed_addresses, or a login in {SIP}.inbound_username."
        )


def _sip_address(settings: Settings) -> str:
    """Return the SIP address for the carrier to send calls to, as far as it is known."""
    livekit = settings.transports.livekit
    if livekit.sip.uri:
        return livekit.sip.uri
    host = settings.server.public_ip or urlsplit(livekit.url).hostname
    return f"sip:{host}:5060 (set {SIP}.uri if LiveKit's SIP service has another address)"
