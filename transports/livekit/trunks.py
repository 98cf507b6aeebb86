"""Configures LiveKit's SIP service for our numbers: its trunks, and the rule that makes rooms.

Trunks and rules with our name are updated, and missing ones are created. Fields that we do not set,
such as headers, stay as they are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, TypeVar

import aiohttp
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from livekit import api
from livekit.protocol.sip import SIPMediaConfig
from pydantic import SecretStr

from transports.livekit.rooms import NOT_LIVEKIT, refusal_of

TRUNK_REQUEST_S: Final = 10.0

Transport: TypeAlias = Literal["auto", "udp", "tcp", "tls"]
Change: TypeAlias = Literal["created", "changed", "unchanged"]

_TRANSPORTS: Final[Mapping[Transport, api.SIPTransport]] = {
    "auto": api.SIPTransport.SIP_TRANSPORT_AUTO,
    "udp": api.SIPTransport.SIP_TRANSPORT_UDP,
    "tcp": api.SIPTransport.SIP_TRANSPORT_TCP,
    "tls": api.SIPTransport.SIP_TRANSPORT_TLS,
}


class ExchangeError(Exception):
    """LiveKit did not carry out a request; the text holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The digest credentials of one SIP party, which it shows the other."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundTrunk:
    """The callers that we accept, and our numbers.

    Attributes:
        numbers: Our numbers as the carrier sends them, with a plus or not; empty to accept any.
        allowed_addresses: The carrier's addresses or networks; empty to accept any.
        credentials: What the carrier must show; `None` for none.
        media_timeout_s: The service hangs up after this time without a packet from the caller.
    """

    numbers: Sequence[str]
    allowed_addresses: Sequence[str] = ()
    credentials: Credentials | None = None
    media_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundTrunk:
    """The carrier for our outbound calls.

    Attributes:
        address: The carrier's host, with its port if it is not the usual one.
        numbers: Our numbers, which callees may see.
        credentials: What the carrier requires; `None` if it knows our address.
        transport: How SIP messages are sent.
    """

    address: str
    numbers: Sequence[str]
    credentials: Credentials | None = None
    transport: Transport = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangePlan:
    """The intended configuration of the service.

    Attributes:
        name: Our name, by which the trunks and the rule are found.
        room_prefix: The prefix of the names of call rooms.
        inbound: The trunk for inbound calls.
        outbound: The trunk for outbound calls; `None` for none.
    """

    name: str
    room_prefix: str
    inbound: InboundTrunk
    outbound: OutboundTrunk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """The result for one part of a plan."""

    part: str
    id: str
    change: Change
    fields: tuple[str, ...] = ()  # the changed ones


async def set_up(url: str, key: str, secret: SecretStr, plan: ExchangePlan) -> list[Arranged]:
    """Apply a plan, and return the result for each part; applying it again changes nothing.

    Raises:
        ExchangeError: A request failed, or several objects have the same name.
    """
    timeout = aiohttp.ClientTimeout(total=TRUNK_REQUEST_S)
    async with api.LiveKitAPI(url, key, secret.get_secret_value(), timeout=timeout) as lk:
        inbound = await _create_or_update(_inbound_store(lk), _inbound_message(plan))
        rule = await _create_or_update(_rule_store(lk), _dispatch_rule(plan, trunk_id=inbound.id))
        done = [inbound, rule]
        if plan.outbound:
            done.append(
                await _create_or_update(_outbound_store(lk), _outbound_message(plan, plan.outbound))
            )
        return done


async def outbound_trunk_id(lk: api.LiveKitAPI, name: str) -> str | None:
    """Return the id of the trunk that `set_up` made for outbound calls; `None` if there is none.

    Raises:
        ExchangeError: A request failed, or several trunks have the same name.
    """
    found = await _find_named(_outbound_store(lk), f"{name} outbound")
    return found.sip_trunk_id if found else None


# -- the intended configuration


def _inbound_message(plan: ExchangePlan) -> Message:
    """Return the trunk through which LiveKit takes calls, as its API wants it."""
    trunk, login = plan.inbound, plan.inbound.credentials
    return api.SIPInboundTrunkInfo(
        name=f"{plan.name} inbound",
        numbers=trunk.numbers,
        allowed_addresses=trunk.allowed_addresses,
        auth_username=login.username if login else "",
        auth_password=login.password.get_secret_value() if login else "",
        media=SIPMediaConfig(media_timeout=duration(trunk.media_timeout_s)),
    )


def _outbound_message(plan: ExchangePlan, trunk: OutboundTrunk) -> Message:
    """Return a trunk through which LiveKit places calls, as its API wants it."""
    login = trunk.credentials
    return api.SIPOutboundTrunkInfo(
        name=f"{plan.name} outbound",
        address=trunk.address,
        transport=_TRANSPORTS[trunk.transport],
        numbers=trunk.numbers,
        auth_username=login.username if login else "",
        auth_password=login.password.get_secret_value() if login else "",
    )


def _dispatch_rule(plan: ExchangePlan, *, trunk_id: str) -> Message:
    # With this rule, a room's name has our number; with `SIPDispatchRuleIndividual`, the caller's.
    rooms = api.SIPDispatchRuleCallee(room_prefix=plan.room_prefix, randomize=True)
    return api.SIPDispatchRuleInfo(
        name=f"{plan.name} calls",
        trunk_ids=[trunk_id],
        rule=api.SIPDispatchRule(dispatch_rule_callee=rooms),
    )


def duration(length_s: float) -> Duration:
    """Return a length of time as protobuf's type."""
    return Duration(seconds=int(length_s), nanos=round(length_s % 1 * 1e9))


# -- the existing configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """The service's objects of one kind: trunks of one direction, or dispatch rules."""

    part: str
    id_field: str
    fetch_all: Callable[[], Awaitable[Any]]
    create: Callable[[Any], Awaitable[Any]]
    replace: Callable[[str, Any], Awaitable[Any]]
    ours: tuple[str, ...]  # the fields that a plan sets; others are left alone


def _inbound_store(lk: api.LiveKitAPI) -> _Store:
    """Return how inbound trunks are read and written, and which of their fields are ours."""
    return _Store(
        part="inbound trunk",
        id_field="sip_trunk_id",
        fetch_all=lambda: lk.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest()),
        create=lambda wanted: lk.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(trunk=wanted)
        ),
        replace=lk.sip.update_inbound_trunk,
        ours=("numbers", "allowed_addresses", "auth_username", "auth_password", "media"),
    )


def _outbound_store(lk: api.LiveKitAPI) -> _Store:
    """Return how outbound trunks are read and written, and which of their fields are ours."""
    return _Store(
        part="outbound trunk",
        id_field="sip_trunk_id",
        fetch_all=lambda: lk.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest()),
        create=lambda wanted: lk.sip.create_outbound_trunk(
            api.CreateSIPOutboundTrunkRequest(trunk=wanted)
        ),
        replace=lk.sip.update_outbound_trunk,
        ours=("address", "transport", "numbers", "auth_username", "auth_password"),
    )


def _rule_store(lk: api.LiveKitAPI) -> _Store:
    """Return how dispatch rules are read and written, and which of their fields are ours."""
    return _Store(
        part="dispatch rule",
        id_field="sip_dispatch_rule_id",
        fetch_all=lambda: lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest()),
        create=lambda wanted: lk.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(dispatch_rule=wanted)
        ),
        replace=lk.sip.update_dispatch_rule,
        ours=("trunk_ids", "rule"),
    )


async def _create_or_update(store: _Store, wanted: Any) -> Arranged:
    """Create the object, or update the one of the same name; return the result.

    Only our fields that differ are changed, and nothing is sent if none does.

    Raises:
        ExchangeError: A request failed, or several objects have the name.
    """
    found = await _find_named(store, wanted.name)
    if found is None:
        made = await _response_within_time(store.create(wanted), f"make the {store.part}")
        return Arranged(part=store.part, id=getattr(made, store.id_field), change="created")
    object_id = str(getattr(found, store.id_field))
    different = tuple(
        name
        for name in store.ours
        if _comparable_field(found, name) != _comparable_field(wanted, name)
    )
    if different:
        FieldMask(paths=different).MergeMessage(
            wanted, found, replace_message_field=True, replace_repeated_field=True
        )
        await _response_within_time(store.replace(object_id, found), f"change the {store.part}")
    change: Change = "changed" if different else "unchanged"
    return Arranged(part=store.part, id=object_id, change=change, fields=different)


async def _find_named(store: _Store, name: str) -> Any:
    """Return the only object with a name; `None` if there is none."""
    listed = await _response_within_time(store.fetch_all(), f"list each {store.part}")
    found = [item for item in listed.items if item.name == name]
    if len(found) > 1:
        raise ExchangeError(
            f'has {len(found)} objects named "{name}" as {store.part}; delete all but one'
        )
    return found[0] if found else None


def _comparable_field(message: Any, name: str) -> object:
    """Return the value of a field, in a form that is equal for equal configurations."""
    value = getattr(message, name)
    if isinstance(value, Message):
        return value.SerializeToString(deterministic=True)
    return sorted(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


_T = TypeVar("_T")


async def _response_within_time(request: Awaitable[_T], what: str) -> _T:
    """Return the service's response within `TRUNK_REQUEST_S`.

    Args:
        request: The request.
        what: What was requested, for the text of the error.

    Raises:
        ExchangeError: The request failed.
    """
    try:
        async with asyncio.timeout(TRUNK_REQUEST_S):  # the library ignores the session's timeout
            return await request
    except api.ServerError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ExchangeError(refusal_of(error)) from error
        raise ExchangeError(f"does not {what}: {error.message or error.code}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ExchangeError(f"cannot be reached: {error or type(error).__name__}") from error
    except NOT_LIVEKIT as error:
        raise ExchangeError(
            "does not answer like LiveKit; correct transports.livekit.url (LIVEKIT_URL)"
        ) from error
