"""Campaigns on the console: their state in words and bars, and their buttons."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from calls import sentences
from calls.sentences import ORDINARY, OUTCOMES, paused, phrase
from calls.sentences import held as waiting
from tests.e2e.browser import Watch
from tests.e2e.conftest import Served
from tests.e2e.console_scenes import alert, healthy, picture
from tests.e2e.test_console import PHONE, VIOLATIONS, opened
from tests.e2e.test_schemes import HARD_TO_PRESS, HARD_TO_READ, MISNAMED, everything_at_once

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

WIDTHS: Final = """all => all.map(one => Math.round(
    100 * one.getBoundingClientRect().width / one.parentElement.getBoundingClientRect().width))"""


def campaign(name: str = "spring", **said: Any) -> dict[str, Any]:
    told = {
        "name": name,
        "state": "running",
        "reason": "",
        "changed_s": 0.0,
        "contacts": {"done": 212, "waiting": 180, "resting": 8},
        "outcomes": {"completed": 148, "no_answer": 52, "busy": 31, "voicemail": 37},
        "calls_now": 3,
        "cost": 4.21,
        "all_contacts": 400,
        "finished": 212,
        "dials": 268,
        "left_s": 5460.0,
        "held": None,
        "on_outage": "hold",
        "calls_today": 268,
        "spent_today": 4.21,
        "daily_calls": 500,
        "daily_spend": None,
        "currency": "EUR",
        **said,
    }
    waits = told["held"]
    says = waiting(waits["reason"], on_outage=told["on_outage"]) if waits else ""
    return told | {
        "waits": bool(waits) and waits["reason"] in sentences.HELD.keys() - ORDINARY,
        "says": paused(told["reason"]) if told["state"] == "paused" else says,
        "outcomes_say": {code: phrase(OUTCOMES, code) for code in told["outcomes"]},
    }


def held(reason: str, **said: Any) -> dict[str, Any]:
    since_s = time.time() - 40 if reason.endswith("_down") else None
    return campaign(held={"reason": reason, "since_s": since_s, "outage": True}, **said)


EVERY_STATE: Final = [
    campaign(),
    held(
        "tts_down",
        name="reminders",
        outcomes={"completed": 61, "busy": 12, "agent_failed": 4},
        finished=74,
        all_contacts=90,
        calls_today=77,
        daily_calls=None,
        spent_today=1.12,
        daily_spend=20.0,
        calls_now=0,
        left_s=1260.0,
    ),
    campaign(
        "survey",
        state="paused",
        reason="agent_failed_in_a_row",
        outcomes={"agent_failed": 5},
        finished=0,
        calls_now=0,
        calls_today=5,
        spent_today=0.0,
    ),
    campaign("autumn", state="ready", contacts={}, outcomes={}, all_contacts=0, finished=0),
]


async def shown(page: Page, served: Served, *campaigns: dict[str, Any]) -> None:
    healthy(served.stand_in)
    served.stand_in.campaigns = list(campaigns)
    await opened(page, served)
    await expect(page.locator("[data-campaign]")).to_have_count(len(campaigns))


async def test_progress_outcomes_and_time_left_are_shown(
    page: Page, served: Served, watch: Watch, tmp_path: Path
) -> None:
    await page.add_init_script(VIOLATIONS)
    await shown(page, served, *EVERY_STATE)
    spring = page.locator("[data-campaign=spring]")

    await expect(spring.locator(".condition")).to_have_text("Running")
    await expect(spring.get_by_role("progressbar")).to_have_attribute("value", "212")
    await expect(spring.get_by_label("spring: 212 of 400 contacts done")).to_be_visible()
    await expect(spring.locator("dd")).to_have_text(
        ["212 of 400", "about 2 h", "3", "268 of 500", "4.21 EUR"]
    )
    rows = spring.get_by_role("list", name="Outcomes of the dials of spring").locator("li")
    await expect(rows).to_have_text(["completed148", "no answer52", "voicemail37", "busy31"])
    assert await spring.locator(".outcomes .bar").evaluate_all(WIDTHS) == [100, 35, 25, 21]
    await expect(spring.get_by_role("link", name="Report of spring")).to_have_attribute(
        "href", "/api/campaigns/spring/report.html"
    )
    paused = page.locator("[data-campaign=survey]")
    await expect(paused).to_contain_text("several calls in a row failed on our side")
    await expect(page.locator("[data-campaign=autumn]")).to_contain_text(
        "holdline campaign import FILE --campaign autumn"
    )
    await picture(page, "campaigns", tmp_path, part=page.locator("#campaigns"))
    assert await page.evaluate("broken") == []
    assert watch.errors == []
    assert watch.foreign == []


HELD: Final = {
    "no voice, it waits": ("tts_down", "hold", "Held", "No contacts are dialled, because no voice"),
    "no voice, contacts are passed over": ("tts_down", "skip", "Held", "Contacts are skipped"),
    "no model, it calls": ("llm_down", "degraded", "Running", "Contacts are dialled anyway"),
    "no carrier, whatever is chosen": (
        *("carrier_unreachable", "skip", "Held"),
        "No contacts are dialled, because the carrier does not answer.",
    ),
    "no seat": ("no_seat", "hold", "Held", "because all seats are taken"),
    "its hours": ("window_closed", "hold", "Running", "it is outside the calling hours"),
    "its limit": ("daily_spend", "hold", "Running", "the daily spending limit is reached"),
}


async def test_the_reason_for_waiting_is_in_plain_words(page: Page, served: Served) -> None:
    names = [f"campaign{at}" for at in range(len(HELD))]
    campaigns = [
        held(reason, name=name, on_outage=chosen)
        for name, (reason, chosen, _, _) in zip(names, HELD.values(), strict=True)
    ]
    at_its_pace = held("pace", name="at_its_pace")
    await shown(page, served, *campaigns, at_its_pace)

    for name, (_, _, state, why) in zip(names, HELD.values(), strict=True):
        one = page.locator(f"[data-campaign={name}]")
        await expect(one.locator(".condition")).to_have_text(state)
        await expect(one.locator(".why-waits")).to_contain_text(why)
    await expect(page.locator("[data-campaign=at_its_pace] .why-waits")).to_have_count(0)


async def test_buttons_change_a_campaigns_state_and_keep_the_focus(
    page: Page, served: Served, watch: Watch
) -> None:
    it = served.stand_in
    stopped = {"state": "paused", "reason": "Mary", "says": paused("Mary")}
    it.moves = {"pause": stopped, "resume": {"state": "running", "says": ""}}
    await shown(page, served, campaign())

    await page.get_by_role("button", name="Pause: spring").press("Enter")
    await expect(page.locator("[data-campaign=spring]")).to_contain_text("Paused by Mary.")
    again = page.get_by_role("button", name="Resume: spring")
    await expect(again).to_be_focused()
    await again.press("Enter")
    await expect(page.get_by_role("button", name="Pause: spring")).to_be_focused()
    it.refuses = {"detail": "spring is done; pause needs running."}
    await page.get_by_role("button", name="Pause: spring").click()

    await expect(page.locator("#campaigns .problem")).to_have_text(
        "spring is done; pause needs running."
    )
    assert [what for what, _, _ in it.acted] == ["pause", "resume", "pause"]
    assert [error for error in watch.errors if "409" not in error] == []


SUMMARY: Final = {
    "callable": 2,
    "why_none": "",
    "lines": ["contacts to call: 2 (Eva, Mia, …)", "countries: DE 1, US 1"],
}


async def test_a_start_is_confirmed_with_its_summary(
    page: Page, served: Served, watch: Watch
) -> None:
    it = served.stand_in
    it.moves = {"summary": SUMMARY, "start": {"state": "running"}}
    await shown(page, served, campaign(state="ready"))
    start = page.get_by_role("button", name="Start: spring")

    await start.press("Enter")
    dialog = page.get_by_role("dialog", name="Start spring")
    await expect(dialog).to_contain_text("contacts to call: 2 (Eva, Mia, …)")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(start).to_be_focused()
    cancelled = list(it.acted)
    await start.press("Enter")
    await dialog.get_by_role("button", name="Call 2 contacts").press("Enter")

    await expect(page.locator("[data-campaign=spring] .condition")).to_have_text("Running")
    assert cancelled == []
    assert [what for what, _, _ in it.acted] == ["start"]
    assert watch.errors == []


async def test_a_start_without_callable_contacts_gives_the_reason(
    page: Page, served: Served
) -> None:
    it = served.stand_in
    why = "spring has no contact that can be called"
    it.moves = {"summary": {"callable": 0, "why_none": why, "lines": []}}
    await shown(page, served, campaign(state="ready"))

    await page.get_by_role("button", name="Start: spring").click()
    dialog = page.get_by_role("dialog", name="Start spring")
    await expect(dialog).to_contain_text("spring has no contact that can be called.")
    await dialog.get_by_role("button", name="Close").click()

    await expect(dialog).to_have_count(0)
    assert it.acted == []


PREVIEW: Final = {
    "rows": 3,
    "added": 2,
    "updated": 0,
    "known": 0,
    "encoding": "cp1250",
    "sample": ["Święta <b>"],
    "refused": [
        {"reason": "no_area_code", "contacts": 1, "cure": "write the whole number", "lines": [3]}
    ],
    "never": [{"reason": "no_zone", "contacts": 1, "cure": "add a column `zone`"}],
}


async def test_a_file_of_contacts_is_previewed_before_it_is_added(
    page: Page, served: Served, watch: Watch, tmp_path: Path
) -> None:
    it = served.stand_in
    it.moves = {"contacts": PREVIEW}
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type] - width and height
    await shown(page, served, campaign(state="ready"))
    file = {"name": "people.csv", "mimeType": "text/csv", "buffer": b"number\n+4930901844\n"}

    async with page.expect_file_chooser() as choosing:
        await page.get_by_role("button", name="Add contacts: spring").press("Enter")
    await (await choosing.value).set_files(file)  # type: ignore[arg-type] - one file
    dialog = page.get_by_role("dialog", name="Add contacts to spring")
    await expect(dialog).to_contain_text("3 rows, 2 new contacts.")
    await expect(dialog).to_contain_text("1 refused, line 3: write the whole number")
    await expect(dialog).to_contain_text("1 cannot be called now: add a column `zone`")
    await expect(dialog).to_contain_text("Names in it: Święta <b>.")
    await page.screenshot(path=tmp_path / "preview.png")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await page.evaluate(HARD_TO_READ) == []
    await dialog.get_by_role("button", name="Add 2 contacts").press("Enter")
    await expect(dialog).to_have_count(0)
    while len(it.acted) < 2:  # noqa: ASYNC110 - the request may still be read
        await asyncio.sleep(0.02)

    assert [word["data"] for _, _, word in it.acted] == [file["buffer"]] * 2
    assert ["preview=true" in query for _, query, _ in it.acted] == [True, False]
    assert watch.errors == []


async def test_the_feed_updates_the_campaigns(page: Page, served: Served) -> None:
    await shown(page, served, campaign())

    done = campaign(state="done", finished=400, contacts={"done": 400}, left_s=None)
    served.stand_in.show_campaigns([done])

    await expect(page.locator("[data-campaign=spring] .condition")).to_have_text("Done")
    await expect(page.get_by_role("button", name="Start again: spring")).to_be_visible()
    served.stand_in.show_campaigns([done], problem="The database does not answer.")
    await expect(page.locator("#campaigns .empty").first).to_have_text(
        "The database does not answer. The data shown is old."
    )


async def test_each_control_of_the_console_is_named_by_its_label(
    page: Page, served: Served
) -> None:
    served.stand_in.campaigns = [campaign(state="ready")]
    served.stand_in.alerts = [alert()]
    await everything_at_once(page, served)
    await expect(page.locator(".campaigns .links a")).to_have_count(2)
    await expect(page.locator("[data-alert] button")).to_have_count(2)

    assert await page.evaluate(MISNAMED) == []


async def test_foreign_content_is_shown_as_text(page: Page, served: Served, watch: Watch) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    outcomes = {nasty: 3}
    await shown(page, served, campaign(state="paused", reason=nasty, outcomes=outcomes))

    await expect(page.locator("[data-campaign=spring]")).to_contain_text(f"Paused by {nasty}.")
    await expect(page.locator("#campaigns img")).to_have_count(0)
    assert watch.errors == []


async def test_hundreds_of_campaigns_do_not_make_the_page_grow(page: Page, served: Served) -> None:
    await shown(page, served, *(campaign(f"c{at}") for at in range(30)))

    served.stand_in.show_campaigns([campaign(f"c{at}") for at in range(300)])

    await expect(page.get_by_text("and 270 more")).to_be_visible()
    await expect(page.locator("[data-campaign]")).to_have_count(30)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_readable_on_a_phone_in_light_and_in_dark(
    page: Page, served: Served, scheme: Any
) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type] - width and height
    await shown(page, served, *EVERY_STATE, held("llm_down", name="x" * 64, on_outage="degraded"))

    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await page.evaluate(HARD_TO_READ) == []
    assert await page.evaluate(HARD_TO_PRESS) == []


async def test_one_contact_is_taken_out_with_the_keyboard(page: Page, served: Served) -> None:
    it = served.stand_in
    it.moves = {"contacts/remove": {"number": "+4930****44"}}
    await shown(page, served, campaign())
    button = page.get_by_role("button", name="Take out a contact: spring")
    for refusal in (None, {"detail": "The campaign has no contact with this number."}):
        it.refuses = refusal
        await button.press("Enter")
        await page.get_by_label("Number", exact=True).fill("030 901844")
        await page.keyboard.press("Enter")
        said = refusal["detail"] if refusal else "+4930****44 is not dialled again"
        await expect(page.get_by_role("dialog")).to_contain_text(said)
        await page.keyboard.press("Escape")
        await expect(button).to_be_focused()
    await button.press("Enter")
    await page.get_by_role("button", name="Cancel").click()

    acted = [(what, word["number"]) for what, _, word in it.acted]
    assert acted == [("contacts/remove", "030 901844")] * 2
