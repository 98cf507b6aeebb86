"""Hostile WebRTC offers and browsers during a call on the same server."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.server import webrtc_routes as offers
from bot.server.browser_calls import CROWDED
from calls.events import CallRefused, TranscriptFinal
from calls.leg_events import EarMeasured, LineRestored
from lab.simulators.carrier.carrier import Carrier
from tests.bot.call.long_call import held_bytes, open_descriptors
from tests.bot.judged_call import AUTH_TOKEN, judged_call
from tests.bot.server.peer import Peer, on_loopback, open_lines, patch, peer, post, readyz
from tests.transports.webrtc.floods import FLOODS, fast_sound
from transports.webrtc import connection as webrtc_connection

__all__ = ["on_loopback"]

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("on_loopback", "quiet_log"),
]

TOKEN = "a-token-of-the-console"
TWILIO = {"enabled": True, "auth_token": SecretStr(AUTH_TOKEN)}
WARM_FLOODS = 2  # the first pages load libraries
FLAT_BYTES = 16_000_000  # of sixteen calls: what was said, and the lab's record of it
MORE_FILES = 6  # a provider may be connected again in the call beside
RESUMED = "Sorry, we were cut off for a moment."
FEW = {"server": {"max_calls": 3}}
ONE_SOUND = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
BAD_SDPS = {
    "no media": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    "no keys": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n",
    "two sounds": f"{ONE_SOUND}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    "a picture": f"{ONE_SOUND}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    "a thousand media": "v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 1_000,
    "lines without end": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" + "a=x\r\n" * 9_000,
}
CANDIDATE = {"candidate": "", "sdp_mid": "0", "sdp_mline_index": 0}


async def test_offers_that_never_connect_do_not_block_callers(tmp_path: Path) -> None:
    async with judged_call(tmp_path, changes=FEW) as beside:
        strangers = [Peer(beside.url) for _ in range(24)]
        answers = [await stranger.offer() for stranger in strangers]
        statuses = [status for status, _ in answers]
        ready = await readyz(beside.url)
        async with Carrier(beside.url, AUTH_TOKEN) as other:
            greeting = await other.listen(within_s=20)
        for stranger in strangers:
            await stranger.leave()
        await asyncio.sleep(offers.CONNECT_S + 1)

        assert statuses.count(200) == 2  # one seat is taken: two more could be
        assert ready == 200
        assert greeting.size
        assert beside.refusals.count("never_connected") == 2
        assert list(open_lines()) == []


async def test_a_browser_killed_before_it_sends_anything_frees_its_seat(
    tmp_path: Path,
) -> None:
    async with judged_call(tmp_path) as beside, peer(beside.url) as browser:
        _, answer = await browser.offer()
        browser.vanish_when_connected()
        await browser.apply(answer)
        await asyncio.sleep(1)
        taken = beside.seats()
        await asyncio.sleep(webrtc_connection.LOST_S + 3)

        assert browser.told == []
        assert (taken, beside.seats()) == (2, 1)


async def test_a_bad_offer_takes_no_seat_and_no_resume_token(tmp_path: Path) -> None:
    async with judged_call(tmp_path, changes=FEW) as beside:
        token = await lost_call(beside.url)
        for sdp in list(BAD_SDPS.values()) * 3:
            body = {"sdp": sdp, "type": "offer", "request_data": {"resume_token": token}}
            status, said = await post(beside.url, body)
            assert status == 400
            assert "SDP" in said["detail"]
        never = Peer(beside.url)
        await never.offer(request_data={"resume_token": token})
        await never.leave()
        await asyncio.sleep(offers.CONNECT_S + 1)
        async with peer(beside.url) as browser:
            await browser.call(request_data={"resume_token": token})
            said = await browser.until_told("said")

    assert RESUMED.startswith(said["text"])


async def test_a_page_that_returns_at_once_resumes_the_running_call(
    tmp_path: Path,
) -> None:
    async with (
        judged_call(tmp_path, changes={"server": {"max_calls": 2}}) as beside,
        peer(beside.url) as first,
        peer(beside.url) as again,
    ):
        await first.call()
        told = await first.until_told("call")
        await first.until_told("said")
        first.vanish()
        assert beside.seats() == 2
        await again.call(request_data={"resume_token": told["resume_token"]})
        await again.until_told("call")

        assert beside.seats() == 2
        assert RESUMED.startswith((await again.until_told("said"))["text"])


async def test_a_page_that_is_lost_again_before_it_received_its_token_can_still_resume(
    tmp_path: Path,
) -> None:
    """Its line is up for a moment: the conversation has a new token that no page knows."""
    async with judged_call(tmp_path) as beside:
        token = await lost_call(beside.url)
        async with peer(beside.url) as briefly:
            _, answer = await briefly.offer(request_data={"resume_token": token})
            briefly.vanish_when_connected()
            await briefly.apply(answer)
            await asyncio.sleep(webrtc_connection.LOST_S + 4)
            assert briefly.told == []
        async with peer(beside.url) as browser:
            await browser.call(request_data={"resume_token": token})
            told = await browser.until_told("call")
            said = await browser.until_told("said")

    assert told["remembers"]
    assert RESUMED.startswith(said["text"])


async def test_the_number_of_candidates_is_bounded(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside, peer(beside.url) as browser:
        await browser.call()
        body = {"pc_id": browser.pc_id, "candidates": [CANDIDATE] * 20}
        statuses = [await patch(beside.url, body) for _ in range(50)]
        nobody = await patch(beside.url, body | {"pc_id": "nobody"})
        crowd = await patch(beside.url, body | {"candidates": [CANDIDATE] * 21})
        restarted = await browser.offer(pc_id="gone", request_data={"ice_restart": True})

        assert (restarted[0], restarted[1]["detail"]) == (404, "No such call.")
        assert statuses[:3] == [200] * 3
        assert set(statuses[3:]) == {429}
        assert (nobody, crowd) == (404, 422)


async def test_data_channel_messages_are_bounded_and_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "\n2026-01-01 | ERROR | a forged line \x1b[31m 4111 1111 1111 1111"
    async with judged_call(tmp_path) as beside, peer(beside.url) as browser:
        await browser.call()
        await browser.until_told("said")
        second = browser.line.createDataChannel("second")
        second.on("open", lambda: second.send("ping: 1"))
        for text in (forged, "ping" + "x" * 60_000, "[" * 900, "NaN", '"text"', b"\x00" * 9):
            browser.channel.send(text)
        for kind in ("trackStatus", "renegotiate"):
            message = {"type": kind, "receiver_index": 10**9, "enabled": True}
            browser.channel.send(json.dumps({"type": "signalling", "message": message}))
        await asyncio.sleep(1)
        for _ in range(2_000):
            browser.channel.send('{"type": "chat", "text": "hello"}')
        assert beside.seats() == 2
        await asyncio.sleep(5)

        assert beside.seats() == 1  # the flood has closed the line
        assert sorted(refusal for refusal in beside.refusals) == [
            "data_message_too_big",
            "data_messages_too_fast",
            "data_too_fast",
            "second_data_channel",
            "unknown_data_message",
        ]
    written = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.log"))
    assert "forged" not in written + caplog.text
    assert "4111" not in written + caplog.text


async def test_floods_after_the_handshake_cost_another_call_no_word(tmp_path: Path) -> None:
    """Each comes from two pages at once, as often as a page can call again."""
    held: list[int] = []
    async with judged_call(tmp_path) as beside:
        opened = open_descriptors()
        for flood, _ in FLOODS.values():
            async with peer(beside.url) as one, peer(beside.url) as other:
                await asyncio.gather(one.call(), other.call())
                with suppress(ConnectionError):
                    await asyncio.gather(flood(one.line), flood(other.line))
                await asyncio.sleep(3)
                assert beside.seats() == 1
            held.append(held_bytes())
        opened = open_descriptors() - opened
        async with peer(beside.url) as fast:
            await fast.call()
            await fast_sound(fast.line)
            assert beside.seats() == 2

    assert set(beside.refusals) >= {reason for _, reason in FLOODS.values()}
    assert "audio_faster_than_time" in beside.refusals
    print(f"{opened} descriptors more, {(held[-1] - held[WARM_FLOODS]) / 1e6:.1f} MB")  # noqa: T201 - for `-s`
    assert opened <= MORE_FILES
    assert held[-1] - held[WARM_FLOODS] < FLAT_BYTES, str(held)


async def test_public_callers_have_fewer_seats_captions_only_and_a_shorter_limit(
    tmp_path: Path,
) -> None:
    limits = {"public": True, "public_per_address": 2, "public_max_call_s": 25}
    webrtc = {"twilio": TWILIO, "webrtc": limits}
    async with (
        judged_call(tmp_path, token=TOKEN, changes={"transports": webrtc}) as beside,
        peer(beside.url) as one,
        peer(beside.url) as two,
        peer(beside.url) as three,
        peer(beside.url, TOKEN) as operator,
    ):
        for browser in (one, two, three, operator):
            await browser.call()
        refused = await three.until_told("refused")
        await operator.until_told("entry")
        assert beside.seats() == 4
        async with asyncio.timeout(60):
            over = [await browser.until_told("ended", within_s=60) for browser in (one, two)]

        assert refused["detail"] == CROWDED
        assert [item["reason"] for item in over] == ["max_length", "max_length"]
        kinds = {item["type"] for browser in (one, two) for item in browser.told}
        assert kinds <= {"call", "said", "signalling", "ended"}
        assert "said" in kinds
        assert not any("voices" in item for browser in (one, two) for item in browser.told)
        assert [event.reason for event in beside.events if isinstance(event, CallRefused)] == [
            "address_full"
        ]
        assert beside.seats() == 2


async def test_a_pages_keys_work_like_a_telephones_and_its_plausible_delays_are_reported(
    tmp_path: Path,
) -> None:
    ear = {"type": "ear", "buffer_s": 0.1, "playout_s": 0.02, "network_s": 0.01, "made_up_s": 0}
    async with judged_call(tmp_path) as beside, peer(beside.url) as browser:
        await browser.call()
        await browser.until_told("said")
        for key in "12#":
            browser.say(type="key", key=key)
        browser.say(**ear, turn=1)
        browser.say(**ear | {"buffer_s": 1e9}, turn=1)
        browser.say(**ear, turn="\n2026-01-01 | ERROR | a forged line \x1b[31m")
        await asyncio.sleep(5)
        keyed = [event.text for event in beside.events if isinstance(event, TranscriptFinal)]
        delays = [event for event in beside.events if isinstance(event, EarMeasured)]

    assert "Keys pressed: **" in keyed
    assert [event.turn for event in delays] == [1]
    assert beside.refusals == ["unknown_data_message"]


async def test_a_line_that_was_dead_for_three_seconds_is_usable_again(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside, peer(beside.url) as browser:
        await browser.call()
        await browser.until_told("said")
        browser.fall_silent()
        await asyncio.sleep(3)
        browser.speak_again()
        await asyncio.sleep(2)
        restored = [event for event in beside.events if isinstance(event, LineRestored)]
        seats = beside.seats()

    assert restored
    assert restored[0].after_s > 2.0
    assert seats == 2


async def test_a_call_may_renegotiate_when_every_seat_is_taken(tmp_path: Path) -> None:
    async with (
        judged_call(tmp_path, changes={"server": {"max_calls": 2}}) as beside,
        peer(beside.url) as browser,
        peer(beside.url) as stranger,
    ):
        await browser.call()
        await browser.until_told("said")
        assert beside.seats() == 2
        status, _ = await browser.offer(pc_id=browser.pc_id)
        refused, _ = await stranger.offer()

        assert (status, refused) == (200, 503)


async def lost_call(url: str) -> str:
    """Make a call and kill its browser; return the token to resume it with."""
    browser = Peer(url)
    await browser.call()
    told = await browser.until_told("call")
    await browser.until_told("said")
    browser.vanish()
    await asyncio.sleep(webrtc_connection.LOST_S + 4)
    await browser.leave()
    return told["resume_token"]
