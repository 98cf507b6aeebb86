"""Which of a browser's candidates are tried: number and kinds of addresses."""

import asyncio
import ipaddress
import time
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from aiortc import RTCPeerConnection
from fastapi import FastAPI
from pipecat.transports.smallwebrtc.request_handler import IceCandidate

from bot.server.browser_calls import BrowserCalls
from bot.server.webrtc_routes import WebrtcRoutes
from bot.workers.pool import SingleProcess
from calls.events import Event, InputRefused
from tests.kit.clock import always
from transports.parked import Parked
from transports.webrtc.candidate_rules import (
    MAX_CANDIDATES,
    MAX_PUBLIC,
    CandidateFilter,
    is_on_our_networks,
    is_on_this_machine,
)
from transports.webrtc.connection import BrowserConnection

PUBLIC, OURS, NEVER = (True, True), (False, True), (False, False)


def line(host: str, *, port: object = 50000, protocol: str = "udp", kind: str = "host") -> str:
    return f"1 1 {protocol} 2130706431 {host} {port} typ {kind} generation 0"


TABLE: Final = {
    line("93.184.215.14"): PUBLIC,
    line("93.184.215.14", kind="srflx"): PUBLIC,
    line("93.184.215.14", kind="relay", protocol="UDP"): PUBLIC,
    line("2606:2800:21f::1"): PUBLIC,
    line("10.1.2.3"): OURS,
    line("192.168.1.5"): OURS,
    line("172.16.0.9", kind="srflx"): OURS,
    line("100.64.0.1"): OURS,
    line("fd12::1"): OURS,
    line("::ffff:10.0.0.1"): OURS,
    line("0b5a4b3c-1e57-4a62-9d3a-cb2f6d0ce9b7.local"): OURS,
    line("127.0.0.1"): NEVER,
    line("::1"): NEVER,
    line("::ffff:127.0.0.1"): NEVER,
    line("0.0.0.0"): NEVER,  # noqa: S104 - not bound
    line("169.254.169.254"): NEVER,
    line("fe80::1"): NEVER,
    line("224.0.0.251"): NEVER,
    line("ff02::fb"): NEVER,
    line("255.255.255.255"): NEVER,
    line("240.0.0.1"): NEVER,
    line("metadata.internal"): NEVER,
    line("victim.example"): NEVER,
    line("a.b.local"): NEVER,
    line("93.184.215.14", port=53): NEVER,
    line("93.184.215.14", port=0): NEVER,
    line("93.184.215.14", port=70000): NEVER,
    line("93.184.215.14", port="x"): NEVER,
    line("93.184.215.14", port="\u0665" * 5): NEVER,
    line("93.184.215.14", protocol="tcp"): NEVER,
    line("93.184.215.14", kind="other"): NEVER,
    "1 2 udp 1 93.184.215.14 50000 typ host": NEVER,  # RTCP has no port of its own
    "1 1 udp": NEVER,
    "": NEVER,
}


@pytest.mark.parametrize(("candidate", "kept"), TABLE.items())
def test_the_kind_of_a_candidates_address_decides_whether_it_is_tried(
    candidate: str, kept: tuple[bool, bool]
) -> None:
    found = [CandidateFilter(allows_private=near).keeps(candidate) for near in (False, True)]

    assert tuple(found) == kept


def test_a_bounded_number_of_public_addresses_is_tried() -> None:
    chosen = CandidateFilter(allows_private=True)
    hosts = [str(ipaddress.ip_address("93.184.215.1") + number) for number in range(50)]
    kept = [host for host in hosts for _ in range(2) if chosen.keeps(line(host))]

    assert kept == [host for host in hosts[:MAX_PUBLIC] for _ in range(2)]
    assert chosen.excess == 100 - len(kept)


def test_a_bounded_number_of_candidates_is_tried_until_the_next_offer() -> None:
    chosen = CandidateFilter(allows_private=True)
    first = [chosen.keeps(line("10.0.0.1", port=port)) for port in range(5000, 5100)]
    chosen.renew()

    assert sum(first) == MAX_CANDIDATES
    assert chosen.keeps(line("10.0.0.1"))


def test_an_offer_loses_only_what_is_not_tried() -> None:
    kept = f"a=candidate:{line('93.184.215.14')}\r\n"
    dropped = f"a=candidate:{line('169.254.169.254')}\r\n"
    before, after = "v=0\r\nm=audio 9 x\r\n", "a=end-of-candidates\r\n"

    found = CandidateFilter(allows_private=True).without_others(before + dropped + kept + after)

    assert found == before + kept + after


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_for_browsers_on_this_machine(host: str) -> None:
    own = CandidateFilter(allows_private=True, allows_loopback=True)
    remote = CandidateFilter(allows_private=True)

    assert (own.keeps(line(host)), remote.keeps(line(host))) == (True, False)
    assert is_on_this_machine(host)


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("10.0.0.5", True), ("::1", True), ("93.184.215.14", False), ("", False)],
)
def test_a_browser_on_our_networks_is_known_by_its_address(address: str, ours: bool) -> None:  # noqa: FBT001
    assert is_on_our_networks(address) == ours


async def offer_with(*hosts: str) -> str:
    """Return a browser's offer with these candidates in place of its own."""
    browser = RTCPeerConnection()
    browser.addTransceiver("audio")
    await browser.setLocalDescription(await browser.createOffer())
    own = browser.localDescription.sdp.splitlines(keepends=True)
    await browser.close()
    kept = [item for item in own if not item.startswith(("a=candidate", "a=end-of-candidates"))]
    return "".join([*kept, *(f"a=candidate:{line(host)}\r\n" for host in hosts)])


def tried(connection: BrowserConnection) -> list[str]:
    """Return the addresses that a connection tries."""
    (transceiver,) = connection.pc.getTransceivers()
    return [item.ip for item in transceiver.receiver.transport.transport.getRemoteCandidates()]


async def test_a_connection_tries_only_what_the_rules_keep() -> None:
    told: list[Event] = []
    connection = BrowserConnection(
        emit=told.append, clock=always(0.0), allows_private=False, allows_loopback=False
    )
    hosts = ("192.168.7.7", "93.184.215.14", "169.254.169.254")
    await connection.initialize(sdp=await offer_with(*hosts), type="offer")
    later = [
        IceCandidate(candidate=f"candidate:{line(host)}", sdp_mid="0", sdp_mline_index=0)
        for host in ("127.0.0.1", "10.0.0.1", "93.184.215.15")
    ]
    await connection.add_addresses(later)
    found = tried(connection)
    await connection.shut()

    assert found == ["93.184.215.14", "93.184.215.15"]
    assert told == []  # browsers offer such addresses, too


@pytest.mark.parametrize(
    ("public", "address", "private_is_tried"),
    [
        (True, "93.184.215.99", False),
        (True, "192.168.7.8", True),
        (True, "2606:2800:21f::1", False),
        (True, "fd12::8", True),
        (False, "93.184.215.99", True),  # an operator, who has signed in
    ],
)
async def test_a_browser_from_outside_reaches_no_private_address(
    public: bool,  # noqa: FBT001
    address: str,
    private_is_tried: bool,  # noqa: FBT001
) -> None:
    asked = {"sdp": await offer_with("192.168.7.7"), "type": "offer"}
    webrtc = SimpleNamespace(public=public, ice_servers=())
    settings = SimpleNamespace(transports=SimpleNamespace(webrtc=webrtc))
    switchboard = SimpleNamespace(emit=print, on_closing=lambda _: None, free_seats=9)
    pool = SingleProcess(why_closed=lambda: "", clock=time.monotonic)
    async with asyncio.TaskGroup() as tasks:
        process: Any = SimpleNamespace(settings=settings, switchboard=switchboard)
        calls = BrowserCalls(process, tasks, Parked(pool, "webrtc"), pool)
        routes, app = WebrtcRoutes(process, tasks, calls), FastAPI()
        app.add_api_route("/api/offer", routes.offer, methods=["POST"])
        wire = httpx.ASGITransport(app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=wire, base_url="http://holdline.test") as browser:
            assert (await browser.post("/api/offer", json=asked)).status_code == 200
        (connection,) = routes._offers._connections.values()
        found = tried(connection)
        routes._offers.give_up()

    assert bool(found) == private_is_tried


async def test_too_many_candidates_of_a_browser_are_reported_once() -> None:
    told: list[Event] = []
    connection = BrowserConnection(emit=told.append, clock=always(0.0))
    await connection.initialize(
        sdp=await offer_with(*[f"192.168.7.{number}" for number in range(1, 50)]), type="offer"
    )
    some = IceCandidate(candidate=line("192.168.7.8"), sdp_mid="0", sdp_mline_index=0)
    await connection.add_addresses([some])
    assert len(tried(connection)) == MAX_CANDIDATES
    await connection.shut()

    assert told == [InputRefused(transport="webrtc", reason="too_many_candidates")]
