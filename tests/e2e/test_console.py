"""The console as an operator sees it: healthy, in an outage, empty, on a phone, with many calls."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Watch
from tests.e2e.conftest import Served
from tests.e2e.console_scenes import (
    alert,
    answers,
    healthy,
    lately,
    live_call,
    now,
    outage,
    picture,
    rungs,
)
from tests.e2e.test_pages import ANSWER, MOVED, STOPPED
from tests.e2e.test_schemes import HARD_TO_READ

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

MAX_ELEMENTS: Final = 2_500  # of the page with 60 rows; without a bound it would be 400 rows
COUNT: Final = "document.querySelectorAll('*').length"
PHONE: Final = {"width": 360, "height": 740}
NO_ANSWER: Final = "The server does not answer."
ALL_WELL: Final = "All is well. No calls now."
WITHIN_MS: Final = 12_000  # what is broken is to be seen in ten seconds, on a machine that is busy
AGAIN_MS: Final = 3_000  # after so long the page asks for the feed again
COUNT_CHANGES: Final = """
    window.changes = 0;
    window.began = performance.now();
    const body = document.querySelector("#calls tbody");
    const rows = () => new Set([...body.children]);
    window.rowsBefore = rows();
    window.replaced = () => [...window.rowsBefore].filter((row) => !rows().has(row)).length;
    new MutationObserver(() => window.changes += 1).observe(
        body, { childList: true, subtree: true, characterData: true },
    );
"""


NO_STORAGE: Final = """
    for (const name of ["localStorage", "sessionStorage"]) {
        const refuse = () => { throw new DOMException("", "SecurityError"); };
        Object.defineProperty(window, name, { get: refuse });
    }
"""  # as a browser that may store nothing for any page
VIOLATIONS: Final = """
    window.broken = [];
    addEventListener("securitypolicyviolation", (event) => broken.push(event.violatedDirective));
"""
HEADLINES: Final = """() => {
    window.headlines = [];
    const line = document.querySelector(".headline");
    const note = () => window.headlines.push(line.textContent);
    new MutationObserver(note).observe(line, { childList: true });
}"""  # what the first line says from now on
OUTSIDE: Final = """() => {
    const picture = document.createElement("img");
    picture.src = "http://127.0.0.1:9/x.png";
    document.body.append(picture);
}"""


async def opened(page: Page, served: Served) -> None:
    await page.goto(served.url + "/")
    await expect(page.locator("#live")).to_have_text("Live")


async def press_take_out(page: Page, served: Served) -> None:
    """Press openai's button with the mouse, and hold it."""
    served.stand_in.providers = rungs()
    await opened(page, served)
    # When every card has a text, none moves another.
    await expect(page.locator(".headline")).to_have_text(ALL_WELL)
    await expect(page.get_by_text("Loading…")).to_have_count(0)
    await page.get_by_role("button", name="Take out of rotation: openai", exact=True).hover()
    await page.mouse.down()


async def test_a_healthy_server_has_a_calm_headline_and_all_panels(
    page: Page, served: Served, watch: Watch, tmp_path: Path
) -> None:
    healthy(served.stand_in)
    await opened(page, served)

    await expect(page.locator(".headline")).to_have_text("All is well. 5 calls in progress.")
    await expect(page.locator("#calls tbody tr")).to_have_count(5)
    await expect(page.locator("#latency .hint")).to_contain_text("100 of 100 answers")
    await expect(page.locator("#recent li")).to_have_count(6)
    await expect(page.locator(".figures")).to_contain_text("3.42 USD")
    await expect(page.locator("#latency canvas")).to_have_count(1)
    await expect(page.locator(".figures")).to_contain_text("of 100 turns")
    await picture(page, "healthy", tmp_path)
    assert watch.errors == []
    assert watch.foreign == []


async def test_calls_in_progress_have_the_columns_of_the_list(
    page: Page, served: Served, watch: Watch
) -> None:
    it = served.stand_in
    said = {"last_says": "Cartesia cut its answer", "failovers": 1}
    ours = live_call(1, direction="outbound", verdict="hurt", **said)
    it.found = [{"id": "call1", "name": "Eva", "campaign": "spring"}]
    it.show_calls([live_call(0, transport="webrtc", ending="", v2v_s=None), ours])
    await opened(page, served)

    heads = ["Began", "Number", "Name", "Agent or campaign", "Length", "Result", "Verdict"]
    await expect(page.locator("#calls th")).to_have_text(heads)
    cells = page.locator("[data-call=call1] td")
    await expect(cells.nth(2)).to_have_text("Eva")
    texts = await cells.all_inner_texts()
    assert (texts[1], texts[3], texts[6]) == ("… 0101", "spring", "hurt")
    await expect(cells.nth(5)).to_contain_text("thinking, turn 2")
    await expect(cells.nth(5)).to_contain_text("1 failover · Cartesia cut its answer")
    await expect(page.locator("[data-call=call0] a")).to_have_text("webrtc")
    await expect(page.locator("[data-call=call0] .agent")).to_have_text("desk")
    await page.goto(served.url + "/calls")
    await expect(page.locator("#rows th")).to_have_text(heads)
    assert watch.errors == []


async def test_an_outage_is_named_in_the_first_lines(
    page: Page, served: Served, watch: Watch, tmp_path: Path
) -> None:
    outage(served.stand_in)
    await opened(page, served)

    await expect(page.locator(".headline")).to_have_text("cartesia: unavailable")
    trouble = page.locator(".troubles li").first
    await expect(trouble).to_contain_text("HIGH: Cartesia cannot be reached")
    await expect(trouble).to_contain_text("(2 min) · 2 callers got no answer")
    await expect(trouble).to_contain_text("Elevenlabs is used instead. Check its url.")
    await expect(page.locator("#calls .served").first).to_have_text("deepgram, openai, elevenlabs")
    await expect(page.locator("[data-rung=elevenlabs] .serves")).to_have_text("5 calls")
    await expect(page.locator("[data-rung=cartesia] .speed")).to_contain_text("9 failed")
    await expect(page.locator(".happenings li")).to_have_count(3)
    await expect(page.locator("#latency canvas")).to_have_count(1)
    await expect(page.locator(".figures")).to_contain_text("of 100 turns")
    await picture(page, "outage", tmp_path)
    assert watch.errors == []


async def test_an_outage_is_readable_on_a_phone(page: Page, served: Served, tmp_path: Path) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    outage(served.stand_in)
    await opened(page, served)

    await expect(page.locator(".headline")).to_have_text("cartesia: unavailable")
    await expect(page.locator("#calls tbody tr")).to_have_count(5)
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = await page.locator(".headline").bounding_box()
    assert box
    assert box["y"] < PHONE["height"] / 2  # seen without scrolling
    await expect(page.locator("#latency canvas")).to_have_count(1)
    await expect(page.locator(".figures")).to_contain_text("of 100 turns")
    await picture(page, "phone", tmp_path)


async def test_four_hundred_calls_do_not_make_the_page_grow(
    page: Page, served: Served, watch: Watch
) -> None:
    served.stand_in.providers = rungs()
    crowd = [live_call(index) for index in range(40)]
    served.stand_in.show_calls(crowd)
    await opened(page, served)
    await expect(page.locator("#calls tbody tr")).to_have_count(40)

    served.stand_in.show_calls([live_call(index) for index in range(400)])

    await expect(page.locator("#calls tbody tr")).to_have_count(60)
    await expect(page.get_by_text("and 340 more, without problems")).to_be_visible()

    served.stand_in.show_calls([live_call(index, verdict="hurt") for index in range(400)])
    await expect(page.get_by_text("and 340 more, 340 of them with problems")).to_be_visible()
    assert await page.evaluate(COUNT) < MAX_ELEMENTS
    assert watch.errors == []


async def test_forty_calls_change_in_place_and_together(
    page: Page, served: Served, watch: Watch
) -> None:
    it = served.stand_in
    it.providers = rungs()
    it.show_calls([live_call(index) for index in range(40)])
    await opened(page, served)
    await expect(page.locator("#calls tbody tr")).to_have_count(40)
    before, begin = await page.evaluate(COUNT), now()
    await page.evaluate(COUNT_CHANGES)
    told = {"stage": "tts", "provider": "cartesia", "kind": "timeout", "after_s": 0.5}
    parts = dict.fromkeys(("vad_s", "transcript_s", "decision_s", "llm_s", "tts_s"), 0.2)
    for number in range(1, 51):  # two thousand entries and fifty snapshots, as fast as they come
        for call in range(40):
            at = (begin + timedelta(milliseconds=10 * number)).isoformat()
            entry = {"call_id": f"call{call}", "number": 2 * number, "at": at}
            it.emit(**entry, event="AttemptFailed", **told)
            heard = {"turn": number, "at_s": 1.0, "v2v_s": 1.0, "parts": parts}
            it.emit(**(entry | {"number": 2 * number + 1}), event="AnswerHeard", **heard)
        it.show_calls([live_call(index, turn=number) for index in range(40)])

    await expect(page.locator("[data-call=call39] span.doing")).to_contain_text("turn 50")
    await expect(page.locator("#latency .hint")).to_contain_text("600 of 600 answers")

    assert (
        await page.evaluate("window.replaced()") == 0
    )  # rows stay, and with them focus and selection
    assert await page.evaluate(COUNT) < before + 600
    await expect(page.locator(".happenings li")).to_have_count(40)
    assert await page.evaluate("window.changes") > 0
    # Drawn together: however many arrive, the rows change three times a second at most.
    assert await page.evaluate("window.changes <= 2 + (performance.now() - window.began) / 300")
    assert watch.errors == []


async def test_a_rung_is_taken_out_with_a_reason_and_put_back_from_the_keyboard(
    page: Page, served: Served, watch: Watch
) -> None:
    served.stand_in.providers = rungs()
    await opened(page, served)

    await page.get_by_role("button", name="Take out of rotation: openai", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Take openai out of rotation?")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    await page.keyboard.type("their status page")
    await dialog.get_by_label("Your name").fill("Mary")
    await page.keyboard.press("Enter")

    await expect(page.locator("[data-rung=openai] .condition")).to_have_text("Out of rotation")
    await expect(dialog).to_be_hidden()
    await expect(page.locator(".headline")).to_have_text("openai: out of rotation")
    back = page.get_by_role("button", name="Put back into rotation: openai", exact=True)
    await back.press("Enter")
    await expect(page.locator("[data-rung=openai] .condition")).to_have_text("Healthy")
    word = {"by": "Mary", "why": "their status page", "force": False}
    assert served.stand_in.acted == [("rest", "openai", word), ("return", "openai", {"by": "Mary"})]
    assert watch.errors == []


async def test_the_last_rung_is_taken_out_only_with_confirmation(
    page: Page, served: Served
) -> None:
    served.stand_in.providers = rungs()
    served.stand_in.refuses = {"detail": "Without openai, llm would have no provider."}
    await opened(page, served)

    await page.get_by_role("button", name="Take out of rotation: openai", exact=True).click()
    await page.get_by_role("button", name="Take out of rotation", exact=True).last.click()
    await expect(page.get_by_text("llm would have no provider.").last).to_be_visible()
    await page.get_by_label("Do it anyway").check()
    await page.get_by_role("button", name="Take out of rotation", exact=True).last.click()

    await expect(page.locator("[data-rung=openai] .condition")).to_have_text("Out of rotation")
    assert [word["force"] for _, _, word in served.stand_in.acted] == [False, True]


async def test_the_focus_returns_although_the_providers_were_redrawn(
    page: Page, served: Served
) -> None:
    served.stand_in.providers = rungs()
    await opened(page, served)
    button = page.get_by_role("button", name="Take out of rotation: openai", exact=True)

    await button.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    served.stand_in.providers = rungs(openai={"suspect": True})  # now it can be tried, too
    await expect(page.get_by_label("Try now: openai", exact=True)).to_have_count(1)
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(button).to_be_focused()
    assert served.stand_in.acted == []


async def test_a_press_is_a_click_although_the_figures_change_under_it(
    page: Page, served: Served
) -> None:
    await press_take_out(page, served)
    served.stand_in.providers = rungs(openai={"recent": lately(p50_s=0.22)})  # moves no button
    await expect(page.locator("[data-rung=openai] .speed")).to_contain_text("half within 0.22 s")
    await page.mouse.up()

    await expect(page.get_by_role("dialog", name="Take openai out of rotation?")).to_be_visible()


async def test_a_press_on_a_button_that_changed_meanwhile_does_nothing(
    page: Page, served: Served
) -> None:
    await press_take_out(page, served)
    served.stand_in.providers = rungs(openai={"withdrawn": True})
    await page.get_by_role("button", name="Put back into rotation: openai", exact=True).hover()
    await page.mouse.up()
    await page.get_by_role("button", name="Take out of rotation: openai-b", exact=True).click()

    await expect(page.get_by_role("dialog", name="Take openai-b out of rotation?")).to_be_visible()
    assert served.stand_in.acted == []


async def test_an_alert_is_acknowledged_and_resolved(page: Page, served: Served) -> None:
    served.stand_in.providers = rungs()
    served.stand_in.alerts = [alert()]
    await opened(page, served)

    await page.get_by_role("button", name="Acknowledge: HIGH: Cartesia cannot be reached").click()
    await expect(page.get_by_text("Acknowledged by an operator", exact=False)).to_be_visible()
    await page.get_by_role("button", name="Resolve: HIGH: Cartesia cannot be reached").click()

    await expect(page.get_by_text("No alert is open.")).to_be_visible()
    await expect(page.locator(".headline")).to_have_text("All is well. No calls now.")
    assert [what for what, _, _ in served.stand_in.acted] == ["acknowledge", "resolve"]


async def test_an_open_alert_shows_how_long_it_has_been_open(page: Page, served: Served) -> None:
    began = now() - timedelta(seconds=20)
    served.stand_in.providers = rungs()
    served.stand_in.alerts = [alert(began_at=began.isoformat(timespec="seconds"))]
    await opened(page, served)
    acknowledge = page.get_by_role("button", name="Acknowledge")
    facts = page.locator("[data-alert]")
    await acknowledge.focus()
    first = re.search(r"\(\d+ s", await facts.inner_text())
    assert first

    await expect(facts).not_to_contain_text(first[0], timeout=WITHIN_MS)

    await expect(facts).to_contain_text(re.compile(r"\(\d+ s"))
    await expect(acknowledge).to_be_focused()


async def test_operator_actions_work_in_a_browser_without_storage(
    page: Page, served: Served, watch: Watch
) -> None:
    served.stand_in.providers = rungs()
    served.stand_in.alerts = [alert()]
    await page.add_init_script(NO_STORAGE)
    await opened(page, served)

    await page.get_by_role("button", name="Resolve: HIGH: Cartesia cannot be reached").click()
    await expect(page.get_by_text("No alert is open.")).to_be_visible()
    await page.get_by_role("button", name="Take out of rotation: cartesia", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Take out of rotation").click()

    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert [what for what, _, _ in served.stand_in.acted] == ["resolve", "rest"]
    assert watch.errors == []


async def test_a_changed_configuration_is_reloaded_or_reported_as_wrong(
    page: Page, served: Served
) -> None:
    wrong = {"detail": "The new configuration has errors.", "problems": ["holdline.yaml:9: no"]}
    served.stand_in.reloads = [(400, wrong), (202, {"changed": ["agent.greeting"]})]
    await opened(page, served)
    button = page.get_by_role("button", name="Reload configuration")

    await button.press("Enter")
    await expect(page.get_by_text("has errors. holdline.yaml:9: no")).to_be_visible()
    await button.click()

    await expect(page.get_by_text("Changed for new calls: agent.greeting.")).to_be_visible()


async def test_a_reload_names_the_machines_with_another_configuration(
    page: Page, served: Served
) -> None:
    machines = [
        {"machine": name, "configuration": mark} for name, mark in zip("abc", "xxy", strict=True)
    ]
    answers = ({"machines": machines}, {"machines": machines[:2]}, {"store_problem": "Away."})
    served.stand_in.reloads = [(202, {"changed": [], **answer}) for answer in answers]
    await opened(page, served)
    button = page.get_by_role("button", name="Reload configuration")

    for said in ("in use on: c. Reload", "All 2 machines", "of the other machines is not known"):
        await button.click()
        await expect(page.get_by_text(said)).to_be_visible()


async def test_calls_have_their_machine_and_a_store_that_is_away_is_told(
    page: Page, served: Served
) -> None:
    served.stand_in.providers = rungs()
    served.stand_in.show_calls([live_call(0, machine="b"), live_call(1)])
    await opened(page, served)

    await expect(page.locator(".machine").filter(has_text="machine b")).to_have_count(1)
    await expect(page.locator(".machine").filter(visible=True)).to_have_count(1)

    served.stand_in.store_problem = "Only machine a is shown."
    await expect(page.get_by_text("Only machine a is shown.")).to_be_visible(timeout=WITHIN_MS)
    served.stand_in.store_problem = ""
    await expect(page.get_by_text("Only machine a is shown.")).to_have_count(0, timeout=WITHIN_MS)


async def test_events_of_several_processes_are_complete_and_in_order(
    page: Page, served: Served
) -> None:
    """A watcher gets all that one process remembers, and then the events of another."""
    it = served.stand_in
    it.providers = rungs()
    begin = now()

    def moved(provider: str, number: int, after_s: float) -> None:
        at = (begin + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")
        place = {"call_id": "", "number": number, "at": at, "event": "BreakerMoved"}
        it.emit(**place, provider=provider, before="closed", after="open", cause="failures")

    for number in range(1, 50):
        moved("here", number, 10 * number)
    moved("there", 3, 494.0)
    moved("there", 4, 476.0)
    moved("here", 49, 490.0)  # repeated, as when a feed is resumed
    await opened(page, served)

    lines = page.locator(".happenings li")
    names = ["there", "here", "here", "there", "here"]
    await expect(lines).to_have_count(40)
    await expect(lines.nth(0)).to_contain_text("there is not used for now")
    for place, name in enumerate(names):
        await expect(lines.nth(place)).to_contain_text(f"{name} is not used for now")


async def test_a_lost_server_is_reported(page: Page, served: Served) -> None:
    served.stand_in.providers = rungs()
    await opened(page, served)

    await page.route("**/api/**", lambda route: route.abort())
    served.stand_in.end_feed()

    await expect(page.locator(".headline")).to_have_text(NO_ANSWER, timeout=WITHIN_MS)
    await expect(page.get_by_text("Is the process running?")).to_be_visible()


async def test_a_feed_that_is_back_soon_as_after_a_reload_turns_nothing_red(
    page: Page, served: Served
) -> None:
    served.stand_in.providers = rungs()
    await opened(page, served)
    await expect(page.locator(".headline")).to_have_text(ALL_WELL)
    await page.evaluate(HEADLINES)

    served.stand_in.end_feed()

    await expect(page.locator("#live")).to_have_text("Reconnecting…")
    await expect(page.locator("#live")).to_have_text("Live", timeout=WITHIN_MS)
    assert await page.evaluate("window.headlines") == []


async def test_slow_answers_are_named_in_the_headline(page: Page, served: Served) -> None:
    healthy(served.stand_in)
    served.stand_in.calls["turns"] = answers(slow_s=1.5)[-5:]  # two of them are late
    await opened(page, served)

    await expect(page.locator(".headline")).to_have_text("Answers: slow")
    await expect(page.locator(".troubles")).to_contain_text("2 of 5 answers in the last 15 minutes")


async def test_a_silent_server_is_reported_and_reconnected(page: Page, served: Served) -> None:
    """Neither a cut network nor a paused process ends a connection."""
    served.stand_in.providers = rungs()
    await opened(page, served)

    await page.route("**/api/**", lambda _: None)  # no answer, and no hang-up
    served.stand_in.beats = False

    await expect(page.locator(".headline")).to_have_text(NO_ANSWER, timeout=WITHIN_MS)
    await expect(page.locator("#live")).to_have_text("Not connected to the server")

    served.stand_in.beats = True
    await page.unroute_all()
    await expect(page.locator(".headline")).to_have_text(ALL_WELL, timeout=2 * WITHIN_MS)
    await expect(page.locator("#live")).to_have_text("Live")


async def test_an_expired_sign_in_is_reported_although_the_feed_continues(
    page: Page, served: Served
) -> None:
    """A sign-in expires after a working day; a page may be open for longer."""
    served.stand_in.providers = rungs()
    await opened(page, served)

    await page.route("**/api/**", lambda route: route.fulfill(status=401, json={"detail": "No."}))

    await expect(page.locator(".headline")).to_have_text("You are signed out.")
    await expect(page.locator(".troubles li")).to_contain_text("Reload this page to sign in.")
    await page.wait_for_timeout(2 * AGAIN_MS)
    await expect(page.locator(".headline")).to_have_text("You are signed out.")

    await page.unroute_all()  # signed in again in another tab
    await expect(page.locator(".headline")).to_have_text(ALL_WELL, timeout=WITHIN_MS)


RESULT: Final[dict[str, Any]] = {
    "campaign": "",
    "outcome": "call_back_later",
    "says": "call back later",
    "summary": "Wants <b>another</b> date.",
    "callback_at": None,
    "notes": "",
    "made_by": "model",
    "why": "",
    "provider": "openai",
}
CALL_PAGE: Final[dict[str, Any]] = {
    "call": {
        "id": "c1",
        "transport": "twilio",
        "agent": "desk",
        "caller": "+1555****67",
        "called": "+1555****21",
        "started_at": "2026-01-01T10:00:00+00:00",
        "ended_at": "2026-01-01T10:01:05+00:00",
        "state": "ended",
        "reason": "caller_hung_up",
        "ended_says": "the caller hung up",
        "why_says": "",
        "length_s": 65.0,
        "turns": 1,
        "failovers": 1,
        "failures": 1,
        "cost": 0.0123,
        "currency": "USD",
        "recorded": True,
    },
    "turns": [
        {
            "call_id": "c1",
            "turn": 1,
            "began_at": "2026-01-01T10:00:08+00:00",
            "v2v_s": 1.75,
            "parts": {},
            "stt": "deepgram",
            "llm": "openai",
            "tts": "elevenlabs",
            "prompt_tokens": 310,
            "completion_tokens": 21,
            "characters": 88,
            "cost": 0.0061,
            "interrupted": False,
            "verdict": "degraded",
            "why": "late",
            "why_says": "the answer was late",
        }
    ],
    "messages": [
        {
            "id": 1,
            "turn": 1,
            "role": "caller",
            "text": "When are you open?",
            "at": "2026-01-01T10:00:10+00:00",
            "spans": [],
        },
        {
            "id": 2,
            "turn": 1,
            "role": "agent",
            "text": "We open at <b>nine</b>.",
            "at": "2026-01-01T10:00:12+00:00",
            "spans": [
                {"provider": "cartesia", "words": 2},
                {"provider": "elevenlabs", "words": 2},
            ],
        },
    ],
    "failures": [
        {
            "id": 1,
            "turn": 1,
            "at": "2026-01-01T10:00:11+00:00",
            "stage": "tts",
            "provider": "cartesia",
            "kind": "cut",
            "scope": "endpoint",
            "severity": "low",
            "attempt": 1,
            "permanent": False,
            "reason": "the connection was reset",
            "says": "Cartesia breaks off its answers",
            "cure": "look at its status page",
        }
    ],
    "breaker_moves": [],
}


def without_marks(told: dict[str, Any]) -> dict[str, Any]:
    """Return the same without HTML-like text, as people see it."""
    plain: dict[str, Any] = json.loads(re.sub(r"</?b>", "", json.dumps(told)))
    return plain


def whole_call() -> dict[str, Any]:
    """Return a call of one turn with a voice failover, and its result."""
    voice = {"stage": "tts", "before": "cartesia", "after": "elevenlabs"}
    facts = [STOPPED, MOVED | voice, ANSWER]
    return CALL_PAGE | {"happenings": facts, "result": RESULT, "recordings": 2}


async def test_a_calls_page_has_its_turns_words_failures_and_recording(
    page: Page, served: Served, watch: Watch
) -> None:
    served.stand_in.call_pages["c1"] = whole_call()

    await page.goto(served.url + "/calls/c1")

    await expect(page.locator("#result p")).to_have_text("Wants <b>another</b> date.")
    await expect(page.locator("#result dd").first).to_have_text("call back later")
    await expect(page.locator(".turn .total")).to_have_text("1.75 s over")
    await expect(page.locator(".turn .moves li")).to_contain_text("cartesia → elevenlabs")
    await expect(page.locator(".said[data-who=agent] .words")).to_have_text(
        "We open at <b>nine</b>."
    )
    voices = page.locator(".said .voice")
    await expect(voices).to_have_text(["We open", "at <b>nine</b>."])
    colours = await voices.evaluate_all("all => all.map(one => getComputedStyle(one).color)")
    assert len(set(colours)) == 2
    await expect(page.locator("#failures li")).to_contain_text("Cartesia breaks off its answers")
    for part in ("part 1 of 2", "part 2 of 2"):
        await expect(page.get_by_label(f"Recording of this call, {part}")).to_be_visible()
    await expect(page.locator(".happenings li")).to_contain_text("Voice moved")
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type] - width and height
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert watch.errors == []
    assert watch.foreign == []


async def test_a_calls_page_is_readable(page: Page, served: Served, tmp_path: Path) -> None:
    served.stand_in.call_pages["c1"] = without_marks(whole_call())
    await page.goto(served.url + "/calls/c1")

    await expect(page.locator("#result p")).to_have_text("Wants another date.")
    await expect(page.locator(".turn .total")).to_have_text("1.75 s over")
    await expect(page.locator(".said .voice")).to_have_text(["We open", "at nine."])
    await expect(page.locator(".happenings li")).to_contain_text("Voice moved")
    await expect(page.get_by_label("Recording of this call")).to_have_count(2)
    assert await page.evaluate(HARD_TO_READ) == []
    await picture(page, "call", tmp_path)


async def test_an_unknown_call_is_reported(page: Page, served: Served) -> None:
    await page.goto(served.url + "/calls/nobody")

    await expect(page.get_by_text("There is no such call.")).to_be_visible()
    await expect(page.get_by_role("link", name="To the console")).to_be_visible()


async def test_a_calls_page_survives_a_server_outage(page: Page, served: Served) -> None:
    going_on = CALL_PAGE["call"] | {"ended_at": None, "state": "live", "length_s": None}
    served.stand_in.call_pages["c1"] = CALL_PAGE | {"call": going_on, "happenings": []}
    await page.goto(served.url + "/calls/c1")
    await expect(page.locator("#state")).to_have_text("In progress")

    await page.route("**/api/**", lambda route: route.abort())
    await expect(page.locator("#state")).to_have_text(NO_ANSWER, timeout=WITHIN_MS)
    await expect(page.locator(".said[data-who=agent] .words")).to_be_visible()  # stays

    served.stand_in.call_pages["c1"] = CALL_PAGE | {"happenings": []}
    await page.unroute_all()
    await expect(page.locator("#state")).to_have_text("Ended", timeout=WITHIN_MS)


async def test_a_calls_result_appears_when_it_is_known_after_the_end(
    page: Page, served: Served
) -> None:
    over = CALL_PAGE | {"call": CALL_PAGE["call"] | {"ended_at": now().isoformat()}}
    plain = RESULT | {"made_by": "facts", "summary": "The caller hung up."}
    served.stand_in.call_pages["c1"] = over | {"happenings": [], "result": plain}
    await page.goto(served.url + "/calls/c1")
    await expect(page.locator("#state")).to_have_text("Ended")
    await expect(page.locator("#result p")).to_have_text("The caller hung up.")

    served.stand_in.call_pages["c1"] = over | {"happenings": [], "result": RESULT}

    await expect(page.locator("#result p")).to_have_text(
        "Wants <b>another</b> date.", timeout=WITHIN_MS
    )


async def test_a_call_that_was_cut_with_its_process_is_shown_as_ended(
    page: Page, served: Served
) -> None:
    cut = {"ended_at": None, "state": "interrupted", "reason": "interrupted", "length_s": None}
    served.stand_in.call_pages["c1"] = CALL_PAGE | {
        "call": CALL_PAGE["call"] | cut,
        "happenings": [],
    }
    await page.goto(served.url + "/calls/c1")

    await expect(page.locator("#state")).to_have_text("Ended")
    await expect(page.locator("#call .figures")).to_contain_text("Lengthunknown")


async def test_a_calls_page_waits_for_a_database_that_does_not_answer(
    page: Page, served: Served
) -> None:
    served.stand_in.call_pages["c1"] = CALL_PAGE | {"happenings": []}
    said = {"detail": "The database does not answer."}
    await page.route("**/api/calls/**", lambda route: route.fulfill(status=503, json=said))
    await page.goto(served.url + "/calls/c1")
    await expect(page.get_by_text("The database does not answer.")).to_be_visible()

    await page.unroute_all()

    await expect(page.locator("#state")).to_have_text("Ended", timeout=WITHIN_MS)


async def test_the_page_respects_its_security_policy(
    page: Page, served: Served, watch: Watch
) -> None:
    """Every violation of the policy is recorded, also one without a message."""
    await page.add_init_script(VIOLATIONS)
    outage(served.stand_in)
    await opened(page, served)
    await expect(page.locator("#latency canvas")).to_have_count(1)

    assert await page.evaluate("broken") == []
    await page.evaluate(OUTSIDE)
    await page.wait_for_function("broken.length > 0")  # the control: the policy is there
    assert await page.evaluate("broken") == ["img-src"]


async def test_the_outage_of_a_stage_is_one_row(page: Page, served: Served) -> None:
    it = served.stand_in
    outage(it)
    down = {"state": "open", "usable": False}
    it.providers = rungs(cartesia=down, elevenlabs=down)
    whole = {"key": "tts", "provider": "", "severity": "CRITICAL", "title": "No voice is available"}
    it.alerts = [alert(), alert(**whole)]
    await opened(page, served)

    await expect(page.locator(".troubles li")).to_have_count(1)
    await expect(page.locator(".troubles li")).to_contain_text("No voice is available")
    await expect(page.locator("[data-alert]")).to_have_count(2)
    await expect(page.locator(".alerts li")).to_have_count(1)
    await expect(page.locator(".alerts li")).to_contain_text("Cartesia cannot be reached")


async def test_each_open_alert_is_shown_once_with_its_buttons(page: Page, served: Served) -> None:
    count = 6
    served.stand_in.providers = rungs()
    served.stand_in.alerts = [
        alert(key=f"crm-{number}", stage="crm", provider="", title=f"HIGH: trouble {number}.")
        for number in range(count)
    ]
    served.stand_in.alerts.append(alert(key="old", status="resolved", title="RESOLVED: the past"))
    await opened(page, served)

    for number in range(count):
        await expect(page.get_by_text(f"HIGH: trouble {number}.", exact=True)).to_have_count(1)
        button = page.get_by_role("button", name=f"Resolve: HIGH: trouble {number}.")
        await expect(button).to_have_count(1)
    await expect(page.locator(".troubles [data-alert]")).to_have_count(min(count, 4))
    await expect(page.locator(".alerts li")).to_have_count(max(count - 4, 0) + 1)
