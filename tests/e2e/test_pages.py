"""The pages alone, in a real browser, against a stand-in for the server."""

import asyncio
import json
from typing import Final

import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from calls.leg_events import EarMeasured
from tests.e2e.browser import ALLOWED, Watch, chromium
from tests.e2e.conftest import Served
from tests.e2e.stand_in import TOKEN
from tests.e2e.talking import unfolded
from transports.webrtc.wire import read_page_message

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

PLAYING = """() => new Promise((done) => {
    const audio = document.querySelector("audio");
    const look = () => audio.currentTime > 0.2 && !audio.paused && !audio.muted && done(true);
    audio.addEventListener("timeupdate", look);
})"""
KEEP_THE_LINE = """
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...settings) {
            super(...settings);
            window.line = this;
        }
    };
"""
SENT_PACKETS = """async () => [...(await line.getStats()).values()].find(
    ({ type, kind }) => type === "outbound-rtp" && kind === "audio").packetsSent"""
KEEP_THE_STATES = """
    window.states = [];
    new MutationObserver(() => states.push(document.documentElement.dataset.call)).observe(
        document.documentElement, { attributeFilter: ["data-call"] },
    );
"""  # the new path is up before the message about it can be read
ONE_MICROPHONE = """
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    const list = devices.enumerateDevices.bind(devices);
    let there = true;
    devices.getUserMedia = async (wanted) => {
        if (!there) throw new DOMException("", "NotFoundError");
        return (window.stream = await open(wanted));
    };
    devices.enumerateDevices = async () => (there ? (await list()).filter(
        ({ kind, deviceId }) => kind === "audioinput" && deviceId === "default") : []);
    window.unplug = () => {
        there = false;
        const [track] = stream.getTracks();
        track.stop();
        track.dispatchEvent(new Event("ended"));
        devices.dispatchEvent(new Event("devicechange"));
    };
    window.plugIn = () => {
        there = true;
        devices.dispatchEvent(new Event("devicechange"));
    };
"""  # a headset on a computer without another microphone
HOLDS_SOUND_BACK = """
    const play = HTMLMediaElement.prototype.play;
    let asked = false;
    const inCall = () => document.documentElement.dataset.call === "in_call";
    addEventListener("pointerdown", () => (asked = inCall()), { capture: true });
    HTMLMediaElement.prototype.play = async function () {
        if (!asked) throw new DOMException("", "NotAllowedError");
        return play.call(this);
    };
"""  # as a browser that blocks autoplay
ANSWER = {
    "call_id": "c1",
    "number": 7,
    "at": "2026-01-01T10:00:00+00:00",
    "event": "AnswerHeard",
    "turn": 1,
    "at_s": 12.0,
    "v2v_s": 1.75,
    "parts": {
        "vad_s": 0.25,
        "transcript_s": 0.1,
        "decision_s": 0.0,
        "llm_s": 0.8,
        "tts_s": 0.5,
        "transport_s": 0.1,
    },
}
STOPPED = {
    "call_id": "c1",
    "event": "CallerStopped",
    "number": 3,
    "at_s": 10.0,
    "noticed_at_s": 10.2,
    "at": "2026-01-01T10:00:00.200+00:00",
}
MOVED = ANSWER | {
    "event": "RungChosen",
    "number": 5,
    "at": "2026-01-01T10:00:00.600+00:00",
    "stage": "llm",
    "before": "openai",
    "after": "openai-b",
    "cause": "failover",
}
WELL = {
    "stage": "tts",
    "kind": "cartesia",
    "rank": 1,
    "name": "cartesia",
    "state": "closed",
    "usable": True,
    "suspect": False,
    "retired": False,
    "rests_s": 0.0,
    "half_opens_in_s": None,
    "failures": 0,
    "p50_s": 0.21,
    "p95_s": 0.3,
    "spent_s": {},
    "last_probe": None,
}
CUT = {
    "fault": "cut",
    "label": "Cut in the middle",
    "fields": [
        {"name": "after_words", "default": 4, "takes": "a whole number, 0 or more", "choices": []},
        {"name": "how", "default": "reset", "takes": "…", "choices": ["reset", "close", "error"]},
        {"name": "inside_word", "default": False, "takes": "true or false", "choices": []},
    ],
}


async def call(page: Page, served: Served, path: str = "/client/") -> None:
    await page.goto(served.url + path)
    # From the keyboard: the cards above grow while the page loads, and a mouse would miss.
    await page.get_by_role("button", name="Call", exact=True).press("Enter")
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    async with asyncio.timeout(30):
        await served.stand_in.opened.wait()
    await expect(page.get_by_text("In a call")).to_be_visible()


async def heard(served: Served, kind: str, *, at_least: int = 1, after: int = 0) -> list[str]:
    """Return the messages of a kind, as soon as there are this many."""
    async with asyncio.timeout(20):
        while True:
            found = [item for item in served.stand_in.heard[after:] if kind in item]
            if len(found) >= at_least:
                return found
            await asyncio.sleep(0.05)


async def test_a_call_is_made_heard_and_hung_up(page: Page, served: Served, watch: Watch) -> None:
    await call(page, served)

    async with asyncio.timeout(20):
        assert await page.evaluate(PLAYING)
    meter = page.get_by_role("meter", name="Microphone level")
    await expect(meter).not_to_have_attribute("aria-valuenow", "0")  # the fake microphone beeps
    await page.get_by_role("button", name="Hang up").click()

    async with asyncio.timeout(10):
        await served.stand_in.gone.wait()
    await expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Resume the call")).to_be_hidden()
    assert any(text.startswith("ping: ") for text in served.stand_in.heard)
    assert watch.errors == []
    assert watch.foreign == []


async def test_a_browser_that_blocks_sound_is_reported_through_the_call(
    page: Page, served: Served
) -> None:
    await page.add_init_script(HOLDS_SOUND_BACK)
    await call(page, served)
    hint = page.get_by_text("Your browser blocks the sound.")

    await expect(hint).to_be_visible()
    served.stand_in.say(type="said", who="agent", text="Hello.", final=True)
    await expect(page.get_by_text("Hello.")).to_be_visible()
    await expect(hint).to_be_visible()

    await page.get_by_text("Hello.").click()

    await expect(hint).to_be_hidden()
    async with asyncio.timeout(20):
        assert await page.evaluate(PLAYING)


async def test_words_grow_in_place_until_they_are_final(page: Page, served: Served) -> None:
    await call(page, served)
    lines = page.locator(".transcript > *")
    say = served.stand_in.say

    say(type="said", who="agent", text="Hello.", final=True)
    say(type="said", who="caller", text="what are", final=False)
    await expect(lines).to_have_text(["AgentHello.", "Youwhat are"])
    say(type="said", who="caller", text="What are your hours?", final=True)
    say(type="said", who="agent", text="We <b>open</b>", final=False)
    await expect(lines.last).to_have_text("AgentWe <b>open</b>")

    await expect(lines).to_have_count(3)
    await expect(page.locator(".said[aria-hidden=true]")).to_have_count(1)


async def test_closing_the_page_ends_the_call_at_once(page: Page, served: Served) -> None:
    await call(page, served)

    await page.goto("about:blank")

    async with asyncio.timeout(10):
        await served.stand_in.gone.wait()


async def test_a_lost_call_reconnects_by_itself_with_its_token(page: Page, served: Served) -> None:
    await call(page, served)

    served.stand_in.knows_calls = False
    await page.evaluate(KEEP_THE_STATES)
    await served.stand_in.vanish()
    await page.wait_for_function("() => states.slice(-2).join() === 'reconnecting,in_call'")

    asked = [offer.get("request_data") for offer in served.stand_in.offers]
    assert asked[0] is None
    assert asked[-1] == {"resume_token": TOKEN}
    await expect(page.get_by_text("the agent starts over")).to_be_hidden()


async def test_a_hanging_request_does_not_end_the_resumed_call(page: Page, served: Served) -> None:
    """A dead network answers nothing: the first offer may fail when a later one has succeeded."""
    await call(page, served)
    served.stand_in.knows_calls = False
    hung: list[Route] = []

    async def hang_once(route: Route) -> None:
        comes_back = "resume_token" in (route.request.post_data or "")
        if comes_back and not hung:
            hung.append(route)
        else:
            await route.continue_()

    await page.route("**/api/offer", hang_once)
    await page.evaluate(KEEP_THE_STATES)
    await served.stand_in.vanish()
    await page.wait_for_function("() => states.slice(-2).join() === 'reconnecting,in_call'")
    offers = len(served.stand_in.offers)

    await hung[0].abort()
    await page.wait_for_timeout(1500)

    await expect(page.get_by_text("In a call")).to_be_visible()
    assert await page.evaluate("states.at(-1)") == "in_call"
    assert len(served.stand_in.offers) == offers


async def test_a_server_that_has_forgotten_the_call_is_reported(page: Page, served: Served) -> None:
    await call(page, served)

    served.stand_in.knows_calls = served.stand_in.remembers = False
    await page.evaluate(KEEP_THE_STATES)
    await served.stand_in.vanish()
    await page.wait_for_function("() => states.includes('reconnecting')")

    await expect(page.get_by_text("the agent starts over")).to_be_visible()
    await expect(page.get_by_text("In a call")).to_be_visible()


async def test_a_new_path_is_found_for_the_running_call(
    page: Page, served: Served, watch: Watch
) -> None:
    await call(page, served)
    async with asyncio.timeout(20):
        assert await page.evaluate(PLAYING)

    await page.evaluate(KEEP_THE_STATES)
    served.stand_in.sever()
    await page.wait_for_function("() => states.slice(-2).join() === 'reconnecting,in_call'")

    restart = served.stand_in.offers[-1]
    assert restart["pc_id"] == "p1"
    assert restart["request_data"] == {"ice_restart": True}
    await heard(served, "ping", after=len(served.stand_in.heard))
    assert watch.errors == []


async def test_an_abandoned_line_gets_no_goodbye_before_its_call_is_resumed(
    page: Page, served: Served
) -> None:
    await call(page, served)
    async with asyncio.timeout(20):
        assert await page.evaluate(PLAYING)

    served.stand_in.knows_calls = False
    served.stand_in.fall_silent()
    async with asyncio.timeout(20):
        await served.stand_in.gone.wait()

    assert served.stand_in.parted == [False, False]  # else the first call had ended as hung up
    assert served.stand_in.offers[-1]["request_data"] == {"resume_token": TOKEN}


async def test_a_caller_may_hang_up_while_the_line_is_down(page: Page, served: Served) -> None:
    await call(page, served)
    served.stand_in.refusal = (503, {"detail": "All lines are taken."})
    await served.stand_in.vanish()
    await expect(page.get_by_text("Reconnecting…")).to_be_visible()

    await page.get_by_role("button", name="Hang up").click()

    await expect(page.get_by_text("You hung up.")).to_be_visible()
    offers = len(served.stand_in.offers)
    await page.wait_for_timeout(1200)
    assert len(served.stand_in.offers) == offers


async def test_keys_are_pressed_by_hand_and_by_keyboard(page: Page, served: Served) -> None:
    await call(page, served)

    await page.get_by_text("Keypad", exact=True).click()
    await page.get_by_role("button", name="5", exact=True).click()
    await page.get_by_role("button", name="star").press("Enter")
    await page.keyboard.press("7")

    await expect(page.get_by_text("You pressed 7.")).to_be_visible()
    keys = await heard(served, '"key"', at_least=3)
    assert [json.loads(item) for item in keys] == [{"type": "key", "key": key} for key in "5*7"]


async def test_a_muted_microphone_sends_silence_and_says_so(page: Page, served: Served) -> None:
    await call(page, served)
    meter = page.get_by_role("meter", name="Microphone level")
    await expect(meter).not_to_have_attribute("aria-valuenow", "0")

    await page.get_by_role("button", name="Mute").click()

    await expect(page.get_by_role("button", name="Mute", pressed=True)).to_be_visible()
    await expect(meter).to_have_attribute("aria-valuenow", "0")
    await page.get_by_role("button", name="Mute").click()
    await expect(meter).not_to_have_attribute("aria-valuenow", "0")


async def test_the_microphone_can_be_changed_during_a_call(
    page: Page, served: Served, watch: Watch
) -> None:
    await page.add_init_script(KEEP_THE_LINE)
    await call(page, served)
    choice = page.get_by_role("combobox", name="Microphone")
    names = await choice.locator("option").all_inner_texts()
    assert len(names) > 1

    await choice.select_option(names[-1])

    await expect(page.get_by_text(f"Microphone in use: {names[-1]}.")).to_be_visible()
    sent = "line.getTransceivers()[0].sender.track"
    assert await page.evaluate(f"{sent}.label") == names[-1]
    assert await page.evaluate(f"{sent}.readyState") == "live"
    await expect(page.get_by_text("In a call")).to_be_visible()
    assert watch.errors == []


async def test_a_replugged_headset_is_heard_again(page: Page, served: Served, watch: Watch) -> None:
    await page.add_init_script(KEEP_THE_LINE)
    await page.add_init_script(ONE_MICROPHONE)
    await call(page, served)
    await page.evaluate("unplug()")
    await expect(page.get_by_text("No microphone was found.")).to_be_visible()

    await page.evaluate("plugIn()")

    sent = "line.getTransceivers()[0].sender.track.readyState"
    await page.wait_for_function(f"() => {sent} === 'live'", timeout=10_000)
    await expect(page.get_by_text("No microphone was found.")).to_have_count(1)
    await expect(page.get_by_text("In a call")).to_be_visible()
    assert watch.errors == []


async def test_a_lost_microphone_leaves_silence_and_not_a_dead_line(
    page: Page, served: Served, watch: Watch
) -> None:
    """The server waits for sound: without any, the last words are not answered for seconds."""
    await page.add_init_script(KEEP_THE_LINE)
    await page.add_init_script(ONE_MICROPHONE)
    await call(page, served)
    await page.evaluate("unplug()")
    await expect(page.get_by_text("No microphone was found.")).to_be_visible()
    before = await page.evaluate(SENT_PACKETS)

    await page.wait_for_timeout(1000)

    assert await page.evaluate(SENT_PACKETS) > before + 20
    await page.get_by_role("button", name="Hang up").click()
    assert watch.errors == []


async def test_the_browsers_playback_delay_is_measured_sent_and_drawn(
    page: Page, served: Served
) -> None:
    await call(page, served, "/")
    async with asyncio.timeout(20):
        assert await page.evaluate(PLAYING)

    served.stand_in.say(type="entry", **ANSWER)
    ears = await heard(served, '"ear"')
    report = json.loads(ears[0])
    measured = ANSWER | report | {"event": "EarMeasured", "number": 8, "type": "entry"}
    served.stand_in.say(**measured | {"network_s": 0.01, "buffer_s": 0.1, "playout_s": 0.05})

    assert isinstance(read_page_message(ears[0]), EarMeasured)
    assert report["turn"] == 1
    assert report["buffer_s"] > 0
    await expect(page.locator(".part[data-part=ear_s]")).to_have_attribute(
        "title", "Playback: 0.16 s"
    )
    await expect(page.locator(".turn .total")).to_have_text("1.75 s over")


async def test_the_agents_goodbye_is_not_a_lost_line(page: Page, served: Served) -> None:
    await call(page, served)
    ended = ANSWER | {"event": "CallEnded", "reason": "agent_hung_up", "length_s": 12.0}

    served.stand_in.say(type="entry", **ended)

    await expect(page.get_by_text("The agent has ended the call.")).to_be_visible()
    await expect(page.get_by_role("button", name="Resume the call")).to_be_hidden()


async def test_the_servers_last_words_give_the_reason_for_hanging_up(
    page: Page, served: Served
) -> None:
    await call(page, served)

    served.stand_in.say(type="ended", reason="silence")
    await served.stand_in.vanish()

    await expect(page.get_by_text("because it heard nothing")).to_be_visible()
    await expect(page.get_by_role("button", name="Resume the call")).to_be_hidden()


async def test_a_busy_server_is_reported_in_its_own_words(page: Page, served: Served) -> None:
    served.stand_in.refusal = (503, {"detail": "All lines are taken; please call again."})
    await page.goto(served.url + "/client/")

    await page.get_by_role("button", name="Call", exact=True).click()

    await expect(page.get_by_role("alert")).to_have_text("All lines are taken; please call again.")
    await expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()


async def test_a_refused_microphone_is_explained(served: Served, network: None) -> None:
    async with (
        async_playwright() as playwright,
        chromium(playwright, "--deny-permission-prompts") as one,
    ):
        page = await one.new_page()
        await page.goto(served.url + "/client/")

        await page.get_by_role("button", name="Call", exact=True).click()

        await expect(page.get_by_role("alert")).to_contain_text("microphone was denied.")
    assert served.stand_in.offers == []


async def test_a_page_without_https_says_why_it_has_no_microphone(
    served: Served, network: None
) -> None:
    port = served.url.rsplit(":", 1)[1]
    elsewhere = "--host-resolver-rules=MAP holdline.test 127.0.0.1 , MAP * ~NOTFOUND"
    async with async_playwright() as playwright, chromium(playwright, ALLOWED, elsewhere) as one:
        page = await one.new_page()
        await page.goto(f"http://holdline.test:{port}/client/")

        await page.get_by_role("button", name="Call", exact=True).click()

        await expect(page.get_by_role("alert")).to_contain_text("https")


async def test_an_answer_is_drawn_against_the_budget(
    page: Page, served: Served, watch: Watch
) -> None:
    await call(page, served, "/")

    served.stand_in.say(type="entry", **ANSWER)
    served.stand_in.emit(**ANSWER)  # the live feed repeats the same

    await expect(page.locator(".turn")).to_have_count(1)
    await expect(page.locator(".turn .total")).to_have_text("1.75 s over")
    widths = await page.locator(".turn .part").evaluate_all(
        "all => all.map(one => one.offsetWidth)"
    )
    assert len(widths) == 5  # a part that took no time is not drawn
    assert widths[2] == pytest.approx(0.8 / 1.75 * sum(widths), abs=3)
    await page.get_by_text("As a table").click()
    row = page.get_by_role("row").filter(has_text="1.75")
    await expect(row).to_have_text("10.250.100.000.800.500.101.75")
    assert watch.errors == []
    assert watch.foreign == []


async def test_after_a_lost_own_call_the_console_shows_others_again(
    page: Page, served: Served
) -> None:
    await call(page, served, "/")
    served.stand_in.say(type="call", call_id="c1", resume_token="", remembers=True)
    served.stand_in.knows_calls = False
    await served.stand_in.vanish()
    await expect(page.get_by_text("Connection lost")).to_be_visible(timeout=10_000)

    served.stand_in.emit(**ANSWER | {"call_id": "c2"})

    await expect(page.locator(".turn .total")).to_have_text("1.75 s over")


async def test_a_provider_is_broken_and_repaired_from_the_keyboard(
    page: Page, served: Served, watch: Watch
) -> None:
    served.stand_in.menu = [{"fault": "refuse", "label": "Connection refused", "fields": []}, CUT]
    served.stand_in.instances = [
        {"name": "cartesia", "kind": "cartesia", "stage": "tts", "faults": [], "requests": 3}
    ]
    await page.goto(served.url + "/")
    switch = page.get_by_role("switch", name="Break cartesia")
    await unfolded(page)

    await page.get_by_label("What goes wrong with cartesia").select_option("cut")
    await page.get_by_label("after words, cartesia").fill("7")
    await switch.press("Space")
    await expect(switch).to_be_checked()
    await page.get_by_label("how, cartesia").select_option("close")
    await page.get_by_label("How often it goes wrong with cartesia").select_option("3 times in 10")
    await switch.press("Enter")
    await expect(switch).not_to_be_checked()

    cut = {"fault": "cut", "after_words": 7, "how": "reset", "inside_word": False}
    assert served.stand_in.puts == [
        ("cartesia", [cut]),
        ("cartesia", [cut | {"how": "close"}]),
        ("cartesia", [cut | {"how": "close", "p": 0.3}]),
        ("cartesia", []),
    ]
    assert watch.errors == []


LAB: Final = [
    {"name": name, "kind": name, "stage": stage, "faults": [], "requests": 0}
    for stage, names in {
        "stt": ("deepgram", "deepgram-b"),
        "llm": ("openai", "openai-b"),
        "tts": ("cartesia", "elevenlabs"),
    }.items()
    for name in names
]
BIG: Final = [
    ("cartesia", {"fault": "cut", "after_words": 4, "how": "reset", "inside_word": False}),
    ("openai", {"fault": "http", "status": 503}),
    ("deepgram", {"fault": "silent"}),
]


async def demo_page(page: Page, served: Served) -> None:
    it = served.stand_in
    status = {"name": "status", "default": 503, "takes": "a whole number", "choices": []}
    optional = {"name": "retry_after_s", "default": None, "takes": "a number", "choices": []}
    it.menu = [
        {"fault": "refuse", "label": "Connection refused", "fields": []},
        {"fault": "http", "label": "HTTP error", "fields": [status, optional]},
        {"fault": "silent", "label": "Accepts, then says nothing", "fields": []},
        CUT,
    ]
    it.instances = [{**instance} for instance in LAB]
    it.phrases = ["What are your opening hours?", "Yes, please."]
    await page.goto(served.url + "/")
    await expect(page.locator(".fault")).to_have_count(len(BIG))


async def test_three_big_faults_are_switched_from_the_keyboard_and_the_rest_is_folded(
    page: Page, served: Served, watch: Watch
) -> None:
    await demo_page(page, served)
    rest = page.get_by_role("switch", name="Break elevenlabs")
    folded = not await rest.is_visible()

    await page.locator(".fault").first.focus()
    for _ in BIG:
        focused = page.locator(".fault:focus")
        await page.keyboard.press("Enter")
        await expect(focused).to_be_checked()
        await page.keyboard.press("Space")
        await expect(focused).not_to_be_checked()
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")

    await expect(rest).to_be_visible()
    assert folded
    wanted = [(name, windows) for name, fault in BIG for windows in ([fault], [])]
    assert served.stand_in.puts == wanted
    assert watch.errors == []


TOPS = """names => Object.fromEntries(
    names.map(name => [name, document.getElementById(name).getBoundingClientRect().top]))"""


@pytest.mark.parametrize(("width", "below"), [(360, True), (1280, False), (1600, False)])
async def test_the_telephone_comes_first_with_suggested_sentences_beside_it(
    page: Page, served: Served, width: int, *, below: bool
) -> None:
    await page.set_viewport_size({"width": width, "height": 844})
    await demo_page(page, served)
    cards = ["verdict", "phone", "phrases", "lab", "transcript", "calls"]
    top = await page.evaluate(TOPS, cards)  # at one moment: the cards move as they fill
    button = await page.get_by_role("button", name="Call", exact=True).bounding_box()

    assert button is not None
    assert button["y"] + button["height"] < 844  # seen without scrolling
    assert (top["phrases"] > top["phone"]) == below
    assert top["verdict"] < top["phone"] <= top["phrases"] < top["lab"] < top["transcript"]
    assert (top["calls"] > top["transcript"]) == below
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.locator("header a").last.focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Call", exact=True)).to_be_focused()


async def test_a_failover_is_marked_where_it_was_in_its_turn(
    page: Page, served: Served, watch: Watch
) -> None:
    await call(page, served, "/")

    for entry in (STOPPED, MOVED, ANSWER):
        served.stand_in.emit(**entry)

    await expect(page.locator(".turn .moves li")).to_have_text("Model: openai → openai-b at 0.60 s")
    mark, bar = page.locator(".turn .mark"), page.locator(".turn .bar")
    at, start = await mark.bounding_box(), await bar.bounding_box()
    drawn = await page.locator(".turn .part").evaluate_all(
        "all => all.reduce((sum, one) => sum + one.offsetWidth, 0)"
    )
    assert at
    assert start
    assert at["x"] - start["x"] == pytest.approx(0.6 / 1.75 * drawn, abs=4)
    await expect(page.locator(".happenings")).to_contain_text("Model moved from openai to")
    assert watch.errors == []


async def test_a_failover_while_the_caller_speaks_belongs_to_the_turn_that_begins(
    page: Page, served: Served
) -> None:
    await call(page, served, "/")
    started = {"call_id": "c1", "event": "CallerStarted", "number": 8, "at_s": 20.0}
    moved = {"number": 9, "stage": "stt", "before": "deepgram", "after": "deepgram-b"}

    served.stand_in.emit(**ANSWER)
    served.stand_in.emit(**started, at="2026-01-01T10:00:10+00:00")
    served.stand_in.emit(**MOVED | moved | {"at": "2026-01-01T10:00:11+00:00"})
    served.stand_in.emit(**STOPPED | {"number": 10, "at": "2026-01-01T10:00:12+00:00"})
    served.stand_in.emit(**ANSWER | {"number": 11, "turn": 2})

    await expect(page.locator(".turn")).to_have_count(2)
    told = page.locator(".turn .moves")
    await expect(told).to_have_text(["Transcript: deepgram → deepgram-b at 0.00 s"])
    moved_in = page.locator(".turn", has=page.locator(".moves"))
    await expect(moved_in.locator(".name")).to_have_text("Turn 2")


async def test_the_words_of_a_sentence_show_which_voice_spoke_them(
    page: Page, served: Served
) -> None:
    await call(page, served)
    voices = [
        {"provider": "cartesia", "words": "We open at"},
        {"provider": "elevenlabs", "words": "nine <b>."},
    ]

    served.stand_in.say(
        type="said", who="agent", text="We open at nine <b>.", final=True, voices=voices
    )

    line = page.locator(".said[data-who=agent]")
    await expect(line.locator(".words")).to_have_text("We open at nine <b>.")
    await expect(line.locator(".words .voice")).to_have_text(["We open at", "nine <b>."])
    await expect(line.locator(".speakers .voice")).to_have_text(["cartesia", "elevenlabs"])
    colours = await line.locator(".words .voice").evaluate_all(
        "all => all.map(one => getComputedStyle(one).color)"
    )
    assert len(set(colours)) == 2


async def test_the_providers_health_and_who_speaks_show_as_they_change(
    page: Page, served: Served, watch: Watch
) -> None:
    standby = WELL | {"name": "elevenlabs", "kind": "elevenlabs", "rank": 2}
    served.stand_in.providers = [dict(WELL), standby]
    await call(page, served, "/")
    first, second = page.locator("[data-rung=cartesia]"), page.locator("[data-rung=elevenlabs]")
    await expect(first.locator(".condition")).to_have_text("Healthy")
    await expect(first.locator(".speed")).to_have_text("no answer in the last 15 minutes")

    won = ANSWER | {"event": "AttemptWon", "stage": "tts", "attempt": 1, "after_s": 0.2}
    served.stand_in.emit(**won | {"provider": "cartesia", "number": 8})
    await expect(first.locator(".works")).to_have_text("in use")
    served.stand_in.providers[0] |= {"state": "open", "half_opens_in_s": 12.4}
    opened = {"event": "BreakerMoved", "stage": "tts", "provider": "cartesia", "after": "open"}
    served.stand_in.emit(**ANSWER | opened | {"call_id": "", "number": 1})
    served.stand_in.emit(**won | {"provider": "elevenlabs", "number": 9})

    await expect(first.locator(".condition")).to_have_text("Not used for 13 s")
    await expect(second.locator(".works")).to_have_text("in use")
    await expect(page.locator(".works")).to_have_count(1)
    await expect(page.locator(".happenings")).to_contain_text("cartesia is not used for now")
    assert watch.errors == []
    assert watch.foreign == []


async def test_an_operator_resets_a_rung_from_the_keyboard(page: Page, served: Served) -> None:
    refused = WELL | {"state": "open", "retired": True, "half_opens_in_s": 800.0}
    served.stand_in.providers = [refused]
    await page.goto(served.url + "/")
    rung = page.locator("[data-rung=cartesia]")
    await expect(rung.locator(".condition")).to_have_text("Rejects our key or has no credit")

    await page.get_by_role("button", name="Try now: cartesia", exact=True).press("Enter")

    await expect(rung.locator(".condition")).to_have_text("Being tested")
    assert served.stand_in.resets == ["cartesia"]


async def test_without_providers_and_a_lab_there_are_no_empty_cards(
    page: Page, served: Served
) -> None:
    await page.goto(served.url + "/")
    await expect(page.get_by_text("Live")).to_be_visible()

    await expect(page.get_by_role("heading", name="Providers")).to_be_hidden()
    await expect(page.get_by_role("heading", name="Break a provider")).to_be_hidden()
    await expect(page.get_by_role("heading", name="What you can say")).to_be_hidden()


@pytest.mark.parametrize("path", ["/", "/client/"])
async def test_a_phone_needs_no_sideways_scrolling(page: Page, served: Served, path: str) -> None:
    broken = {"state": "open", "retired": True, "name": "a-rung-with-a-long-name"}
    served.stand_in.providers = [WELL | broken]
    await page.set_viewport_size({"width": 360, "height": 740})
    await call(page, served, path)
    served.stand_in.say(type="said", who="agent", text="x" * 300, final=True)
    served.stand_in.say(type="entry", **ANSWER)
    await expect(page.locator(".said")).to_have_count(1)

    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
