"""Access to the pages and the API: tokens, names, proxies, other sites, and guesses."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from pydantic import SecretStr

from bot.server.access import Access, SignIn
from bot.server.application import _bare_application
from bot.server.credentials import (
    FORGIVEN,
    FREE_ATTEMPTS,
    KNOWN_ADDRESSES,
    MAX_ADDRESSES,
    MAX_WAIT_S,
    MAX_WRONG_TOGETHER,
    Attempts,
    ConsoleCredentials,
    identity_of,
)
from bot.server.pages.site import CONSOLE_PAGES
from bot.workers.pool import SingleProcess
from configuration.checks import MIN_TOKEN
from runtime import clock

TOKEN = "a-token-of-the-console"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def guarding(token: str = "", *, public: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """Guard an application that serves every path."""
    pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
    secret = SecretStr(token) if token else None
    credentials = ConsoleCredentials(secret, None, pool=pool, emit=lambda _: None)
    access = Access(credentials, public_client=public, public_url="http://127.0.0.1:8080")
    app = _bare_application(access, one_request=False)
    app.include_router(SignIn(access).routes())

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def serve(path: str, request: Request, response: Response) -> str:
        response.headers["x-public"] = str(identity_of(request).public)
        return path

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


async def cookie_cost_s(client: httpx.AsyncClient, held: str) -> float:
    """Return this thread's time for a request with such a cookie, undisturbed."""
    took_s: list[float] = []
    for _ in range(3):
        began_s = time.thread_time()
        refused = await client.get("/api/calls", headers={"Cookie": f"holdline={held}"})
        took_s.append(time.thread_time() - began_s)
        assert refused.status_code == 401
    return min(took_s)


async def test_parsing_an_untrusted_cookie_takes_linear_time() -> None:
    async with guarding(TOKEN) as client:
        plain_s = await cookie_cost_s(client, "a" * 15_000)
        quoted_s = await cookie_cost_s(client, '"' + "\\" * 15_000 + '"')

    assert quoted_s < 10 * plain_s  # a hundred times, if Python unquotes it


async def test_the_session_cookie_is_found_among_cookies_of_other_programs() -> None:
    async with guarding(TOKEN) as client:
        await client.post("/sign-in", data={"token": TOKEN})
        ours = f"holdline={client.cookies['holdline']}"
        client.cookies.clear()
        cookies = [f"a=1; {ours}; b", f"holdlines=2;{ours} ", f"=; holdline=old; {ours}"]
        opened = [await client.get("/", headers={"Cookie": cooky}) for cooky in cookies]
        pair = [("Cookie", ours), ("Cookie", "b=3")]
        opened.append(await client.get("/", headers=pair))
        other = await client.get("/", headers={"Cookie": f"a={ours}; not{ours}"})

    assert [item.status_code for item in opened] == [200] * 4
    assert other.status_code == 401


@pytest.mark.parametrize("token", [TOKEN, ""], ids=["a token", "no token"])
async def test_the_sign_in_page_is_shown_without_the_token(token: str) -> None:
    async with guarding(token) as client:
        page, head = await client.get("/sign-in"), await client.head("/sign-in")

    assert (page.status_code, head.status_code, head.text) == (200, 200, "")
    assert 'action="/sign-in"' in page.text
    assert page.headers["content-security-policy"]


async def statuses(client: httpx.AsyncClient, head: Any) -> tuple[int, int, int]:
    """Return those of a page, of the API and of the health check."""
    paths = ("/", "/api/providers", "/healthz")
    page, api, health = [(await client.get(path, headers=head)).status_code for path in paths]
    return page, api, health


async def test_without_a_token_only_a_name_of_loopback_is_answered() -> None:
    ours = ("127.0.0.1:8080", "localhost", "[::1]:9")
    others = ("evil.example:8080", "localhost.evil.example", "", "[")
    async with guarding() as client:
        found = {host: await statuses(client, {"Host": host}) for host in (*ours, *others)}

    assert found == dict.fromkeys(ours, (200, 200, 200)) | dict.fromkeys(others, (403, 403, 200))


async def test_with_a_token_any_name_is_answered() -> None:
    headers = {"Host": "holdline.example", "Authorization": f"Bearer {TOKEN}"}
    async with guarding(TOKEN) as client:
        answer = await client.get("/", headers=headers)

    assert answer.status_code == 200


HANDED_ON: dict[str, tuple[list[tuple[str, str]], int]] = {
    "for another machine": ([("X-Forwarded-For", "203.0.113.5")], 403),
    "for another machine, in a vendor's header": ([("True-Client-IP", "203.0.113.5")], 403),
    "for another machine and this one": (
        [("X-Forwarded-For", "127.0.0.1"), ("CF-Connecting-IP", "203.0.113.5")],
        403,
    ),
    **{
        f"for another machine, in {name}": ([(name, "203.0.113.5")], 403)
        for name in (
            *("Client-IP", "Forwarded-For", "X-Original-Forwarded-For", "X-Forwarded"),
            *("X-Remote-IP", "X-Remote-Addr", "X-Envoy-External-Address", "X-Originating-IP"),
            *("X-Azure-SocketIP", "CF-Connecting-IPv6", "X-Azure-ClientIP"),
        )
    },
    "for another machine behind this one": (
        [("X-Forwarded-For", "127.0.0.1"), ("X-Original-Forwarded-For", "203.0.113.5")],
        403,
    ),
    "over another port": ([("X-Forwarded-Port", "443")], 403),
    "for another machine as this one": (
        [("X-Forwarded-For", "127.0.0.1, 203.0.113.5")],
        403,
    ),
    "by two who say so": ([("X-Forwarded-For", ip) for ip in ("127.0.0.1", "10.0.0.7")], 403),
    "under another name": (
        [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "phone.example.com")],
        403,
    ),
    "as RFC 7239 writes it": ([("Forwarded", 'for="[2001:db8::1]:4711";proto=https')], 403),
    "for one who is not named": ([("Forwarded", "for=unknown")], 403),
    "as nginx's examples write it": ([("X-Real-IP", "203.0.113.5")], 403),
    "by one that names itself alone": ([("Via", "1.1 edge")], 403),
    "by one that names the scheme alone": ([("X-Forwarded-Proto", "https")], 403),
    "by one that names our own name alone": ([("X-Forwarded-Host", "localhost")], 403),
    "for nobody": ([("X-Forwarded-For", "")], 403),
    "for this machine, as a developer's": (
        [
            *(("X-Forwarded-For", "127.0.0.1, ::1"), ("X-Forwarded-Host", "localhost:3000")),
            *(("X-Forwarded-Proto", "http"), ("Via", "1.1 vite"), ("X-Real-IP", "127.0.0.1:9")),
            *(("X-Forwarded-Server", "laptop"), ("Client-IP", "127.0.0.1")),
        ],
        200,
    ),
    "for this machine, as a newer address": ([("X-Forwarded-For", "::ffff:127.0.0.1")], 200),
    "for this machine, as RFC 7239 writes it": (
        [("Forwarded", 'for="[::1]:4711";host=localhost:80, For=127.0.0.1;by=localhost')],
        200,
    ),
}


async def test_without_a_token_requests_through_a_proxy_see_nothing() -> None:
    async with guarding() as client:
        found = {how: await statuses(client, head) for how, (head, _) in HANDED_ON.items()}
        shown = await client.get("/", headers=HANDED_ON["for another machine"][0])
        webhook = await client.post("/twilio/voice", headers=HANDED_ON["for another machine"][0])

    assert found == {how: (status, status, 200) for how, (_, status) in HANDED_ON.items()}
    assert "HOLDLINE_TOKEN" in shown.text
    assert webhook.status_code == 200


async def test_with_a_token_or_a_public_telephone_a_proxy_makes_no_difference() -> None:
    async with guarding(TOKEN) as closed, guarding(public=True) as public:
        for how, (head, _) in HANDED_ON.items():
            console = await closed.get("/", headers=[*head, *bearer(TOKEN).items()])
            telephone = await public.get("/client/", headers=head)

            assert (console.status_code, telephone.status_code) == (200, 200), how


LOCAL = {"host": "127.0.0.1:8080"}
WHO: dict[str, tuple[str, dict[str, str], bool]] = {
    "a stranger": (TOKEN, {}, True),
    "a stranger with a wrong token": (TOKEN, bearer("another"), True),
    "a stranger with a wrong cookie": (TOKEN, {"Cookie": "holdline=another"}, True),
    "an operator's program": (TOKEN, bearer(TOKEN), False),
    "a person at this machine": ("", LOCAL, False),
    "a stranger through a proxy": ("", LOCAL | {"X-Forwarded-For": "203.0.113.9"}, True),
    "a stranger by another name": ("", {"host": "phone.example"}, True),
}


async def test_a_call_to_a_public_telephone_is_public_unless_an_operator_makes_it() -> None:
    async with guarding(TOKEN, public=True) as closed, guarding(public=True) as unguarded:
        for who, (token, headers, public) in WHO.items():
            answer = await (closed if token else unguarded).post("/api/offer", headers=headers)

            assert (answer.status_code, answer.headers["x-public"]) == (200, str(public)), who
        await closed.post("/sign-in", data={"token": TOKEN})
        signed_in = await closed.post("/api/offer")

    assert signed_in.headers["x-public"] == "False"


async def test_a_guess_at_the_public_telephone_is_counted() -> None:
    async with guarding(TOKEN, public=True) as client:
        for number in range(FREE_ATTEMPTS + 1):
            await client.post("/api/offer", headers=bearer(f"guess-{number}"))
        slowed = await client.get("/", headers=bearer("another guess"))

    assert slowed.status_code == 429


async def test_each_page_of_the_console_asks_for_the_token_and_is_returned_to() -> None:
    async with guarding(TOKEN) as client:
        for path in (*CONSOLE_PAGES, "/calls/c1"):
            client.cookies.clear()
            asked = await client.get(path)
            shown = await client.post("/sign-in", data={"token": TOKEN, "next": path})

            assert (asked.status_code, shown.status_code) == (401, 303)
            assert f'name="next" value="{path}"' in asked.text
            assert shown.headers["location"] == path


ORIGINS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"Origin": "http://127.0.0.1:8080"}, 200),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8080"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:9999"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8080"}, 403),
]


async def test_only_our_own_pages_and_programs_may_change_state() -> None:
    async with guarding() as client:
        for headers, status in ORIGINS:
            reset = await client.post("/api/providers/mind/reset", headers=headers)
            offer = await client.post("/api/offer", headers=headers, json={"sdp": "no"})

            assert reset.status_code == status, headers
            assert (offer.status_code == 403) == (status == 403), headers


async def test_the_right_token_does_not_wait_for_a_guesser_at_the_same_address() -> None:
    async with guarding(TOKEN) as client:
        for n in range(7):
            await client.post("/sign-in", data={"token": f"{n}"})
        program = await client.get("/metrics", headers=bearer(TOKEN))
        person = await client.post("/sign-in", data={"token": TOKEN})
        guess = await client.get("/metrics", headers=bearer("another"))

    assert (program.status_code, person.status_code, guess.status_code) == (200, 303, 429)
    assert guess.json()["detail"].startswith("Too many wrong tokens")


async def test_a_guessable_token_waits_with_the_guesses() -> None:
    async with guarding("x" * (MIN_TOKEN - 1)) as client:
        for n in range(7):
            await client.post("/sign-in", data={"token": f"{n}"})
        program = await client.get("/metrics", headers=bearer("x" * (MIN_TOKEN - 1)))

    assert program.status_code == 429


def guessed(times: int, *, address: str = "192.0.2.1", now: float = 0.0) -> Attempts:
    attempts = Attempts()
    for _ in range(times):
        attempts.note_wrong(address, now)
    return attempts


@pytest.mark.parametrize(
    ("wrong", "wait_s"),
    [
        (0, 0),
        (FREE_ATTEMPTS, 0),
        (FREE_ATTEMPTS + 1, 1),
        (FREE_ATTEMPTS + 3, 4),
        (FREE_ATTEMPTS + 40, 60),
    ],
)
def test_each_wrong_token_makes_the_next_wait_longer(wrong: int, wait_s: float) -> None:
    assert guessed(wrong).wait_s("192.0.2.1", 0.0) == wait_s


def test_a_wait_is_over_when_its_time_has_passed() -> None:
    attempts = guessed(FREE_ATTEMPTS + 2)

    assert [attempts.wait_s("192.0.2.1", now) for now in (0.0, 1.5, 2.0)] == [2.0, 0.5, 0.0]


def test_others_do_not_wait_for_a_guesser() -> None:
    assert guessed(FREE_ATTEMPTS + 5).wait_s("192.0.2.2", 0.0) == 0.0


def test_one_ipv6_network_counts_as_one_client() -> None:
    attempts = guessed(FREE_ATTEMPTS + 1, address="2001:db8::1")

    assert attempts.wait_s("2001:db8::2", 0.0) == 1.0
    assert attempts.wait_s("2001:db8:1::2", 0.0) == 0.0


def test_many_slow_guessers_are_slowed_together_but_not_known_addresses() -> None:
    attempts = Attempts()
    attempts.note_right("192.0.2.200", 0.0)
    for number in range(MAX_WRONG_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0
    assert attempts.wait_s("203.0.113.1", 70.0) == 0.0
    assert attempts.wait_s("192.0.2.200", 10.0) == 0.0


def test_the_right_token_clears_the_wait() -> None:
    attempts = guessed(FREE_ATTEMPTS + 1)
    attempts.note_right("192.0.2.1", 1.0)
    attempts.note_wrong("192.0.2.1", 1.0)

    assert attempts.wait_s("192.0.2.1", 1.0) == 0.0


@pytest.mark.parametrize("pause_s", [0.5, 15.0, 61.0])
@pytest.mark.parametrize("at_once", [1, FREE_ATTEMPTS, 1_000])
def test_right_credentials_do_not_let_a_guesser_at_their_address_go_on(
    at_once: int, pause_s: float
) -> None:
    """As a scraper does, whose requests are right, behind the same proxy as the guesser."""
    attempts, now, guesses, waits = Attempts(), 0.0, 0, 0
    for _ in range(100):
        for _ in range(at_once):
            if attempts.wait_s("192.0.2.1", now):
                waits += 1
                break
            attempts.note_wrong("192.0.2.1", now)
            guesses += 1
        attempts.note_right("192.0.2.1", now)
        now += pause_s

    assert waits or pause_s > 60.0
    assert guesses <= FORGIVEN + FREE_ATTEMPTS + 1 + now / MAX_WAIT_S + 10
    attempts.note_wrong("192.0.2.1", now)
    attempts.note_right("192.0.2.1", now)
    assert attempts.wait_s("192.0.2.1", now) == MAX_WAIT_S


def test_a_right_token_does_not_shorten_another_wait() -> None:
    """A guesser may share the address of an operator."""
    attempts = guessed(FREE_ATTEMPTS + 1)
    attempts.note_right("192.0.2.1", 0.5)

    assert attempts.wait_s("192.0.2.1", 0.5) == 0.5


def test_a_right_token_from_a_waiting_address_does_not_make_it_known() -> None:
    attempts = Attempts()
    for number in range(MAX_WRONG_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)
    attempts.note_right("203.0.113.1", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0


def test_memory_is_bounded_by_any_number_of_addresses() -> None:
    attempts = Attempts()
    for number in range(MAX_ADDRESSES + KNOWN_ADDRESSES):
        address = f"10.0.{number // 250}.{number % 250}"
        attempts.note_wrong(address, 100.0 * number)
        attempts.note_right(address, 100.0 * number)
        attempts.note_wrong(f"{address}0", 100.0 * number)

    assert len(attempts._wrong) == MAX_ADDRESSES
    assert len(attempts._known) == KNOWN_ADDRESSES
