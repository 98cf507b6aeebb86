"""The console in light and in dark: all of it is readable."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.conftest import Served
from tests.e2e.test_pages import ANSWER, CUT, MOVED, STOPPED, WELL, call

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

# How contrast is measured, and the required values: WCAG 2.2.
CONTRAST: Final = """() => {
    const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const laid = (colours) => { // one above the other, the lowest first
        paint.clearRect(0, 0, 1, 1);
        for (const each of colours) {
            paint.fillStyle = each;
            paint.fillRect(0, 0, 1, 1);
        }
        return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => each / 255);
    };
    const linear = (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    const light = (colours) => {
        const [red, green, blue] = laid(colours).map(linear);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (one) =>
        one ? [...behind(one.parentElement), getComputedStyle(one).backgroundColor] : [];
    const apart = (...colours) => {
        const both = colours.map(light);
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    };
    const bad = [];
    $LOOK
    return bad;
}"""
HARD_TO_READ: Final = CONTRAST.replace(
    "$LOOK",
    """
    for (const one of document.querySelectorAll("body *")) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!(own || one.matches("input, select")) || !one.checkVisibility()) continue;
        const { color, fontSize, fontWeight } = getComputedStyle(one), ground = behind(one);
        const contrast = apart(ground, [...ground, color]);
        const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
        const what = `${one.tagName}.${one.className}: ${one.textContent.trim()}`;
        if (contrast < (large ? 3 : 4.5)) bad.push(`${contrast.toFixed(3)} ${color} ${what}`);
    }
""",
)  # 1.4.3: text
HARD_TO_SEE: Final = CONTRAST.replace(
    "$LOOK",
    """
    for (const key of document.querySelectorAll(".legend .key")) {
        const contrast = apart(behind(key), behind(key.closest(".card")));
        if (contrast < 3) bad.push(`${contrast.toFixed(3)} ${key.dataset.part}`);
    }
""",
)  # 1.4.11: what is drawn
MISNAMED: Final = """() => {
    const bad = [];
    for (const one of document.querySelectorAll(":is(a, button, summary)[aria-label]")) {
        const seen = one.innerText.trim();
        if (/[a-z]{2}/i.test(seen) && !one.ariaLabel.includes(seen))
            bad.push(`${one.ariaLabel}, not ${seen}`);
    }
    for (const item of document.querySelectorAll("li")) {
        const list = item.parentElement;
        if (!list.matches("ol, ul") || (list.getAttribute("role") ?? "list") !== "list")
            bad.push(`an item in ${list.outerHTML.slice(0, 80)}`);
    }
    return bad;
}"""  # 2.5.3: a control's name has its label; 1.3.1: an item is in a list
HARD_TO_PRESS: Final = """() => {
    const inText = (one) => [...one.parentElement.childNodes].some(
        (node) => node.nodeType === 3 && node.data.trim());
    const shown = [...document.querySelectorAll("a, button, input, select, summary")]
        .filter((one) => one.checkVisibility() && !inText(one))
        .map((one) => ({ one, box: one.getBoundingClientRect() }));
    const isSmall = ({ box }) => Math.min(box.width, box.height) < 24;
    const middle = ({ box }) => [box.x + box.width / 2, box.y + box.height / 2];
    const beside = (a, b) => {
        const [x, y] = middle(a), [u, v] = middle(b), { left, right, top, bottom } = b.box;
        const gap = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
        return gap < 12 || (isSmall(b) && Math.hypot(x - u, y - v) < 24);
    };
    return shown.filter(isSmall)
        .filter((small) => shown.some((other) => other !== small && beside(small, other)))
        .map(({ one, box }) => `${box.width} by ${box.height}: ${one.outerHTML.slice(0, 100)}`);
}"""  # 2.5.8: a control has 24 by 24 pixels, or as much room around its middle
RUNGS: Final[list[dict[str, Any]]] = [
    WELL | {"stage": "stt", "kind": "deepgram", "name": "deepgram"},
    WELL | {"stage": "llm", "kind": "openai", "name": "openai", "suspect": True},
    WELL | {"stage": "llm", "kind": "openai", "name": "openai-b", "rank": 2},
    WELL | {"state": "open", "half_opens_in_s": 12.4, "usable": False},
    WELL | {"name": "elevenlabs", "kind": "elevenlabs", "rank": 2, "state": "half_open"},
    WELL | {"name": "spare", "rank": 3, "state": "open", "retired": True, "usable": False},
]


@pytest_asyncio.fixture(params=["light", "dark"], loop_scope="module")
async def page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    context = await browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 900}
    )
    yield await context.new_page()
    await context.close()


def instance(name: str, stage: str, *faults: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "kind": name, "stage": stage, "faults": list(faults)}


async def everything_at_once(page: Page, served: Served) -> None:
    """Show each kind of element that the console has."""
    it = served.stand_in
    it.menu, it.phrases, it.providers = [CUT], ["What are your opening hours?"], RUNGS
    it.instances = [
        instance("deepgram", "stt"),
        instance("openai", "llm"),
        instance("cartesia", "tts", {"fault": "cut", "after_words": 4}),
    ]
    await call(page, served, "/")
    voices = [
        {"provider": "cartesia", "words": "We open"},
        {"provider": "elevenlabs", "words": "at"},
        {"provider": "local", "words": "nine."},
    ]
    it.say(type="said", who="caller", text="When are you open?", final=True)
    it.say(type="said", who="agent", text="We open at nine.", final=True, voices=voices)
    it.say(type="said", who="caller", text="And on", final=False)
    for entry in (STOPPED, MOVED, ANSWER):
        it.emit(**entry)
    await expect(page.locator(".said")).to_have_count(3)
    await expect(page.locator(".turn")).to_have_count(1)
    await expect(page.locator("[data-rung]")).to_have_count(len(RUNGS))
    await page.get_by_text("As a table").click()


async def test_all_text_is_readable(page: Page, served: Served) -> None:
    await everything_at_once(page, served)

    assert await page.evaluate(HARD_TO_READ) == []


async def test_each_part_of_a_turn_stands_out_from_its_card(page: Page, served: Served) -> None:
    await everything_at_once(page, served)

    assert await page.evaluate(HARD_TO_SEE) == []


async def test_a_failed_call_is_readable(page: Page, served: Served) -> None:
    served.stand_in.refusal = (503, {"detail": "All lines are busy."})
    await page.goto(served.url + "/client/")
    await page.get_by_role("button", name="Call", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("All lines are busy.")

    assert await page.evaluate(HARD_TO_READ) == []


async def test_the_dark_scheme_is_dark(page: Page, served: Served) -> None:
    await page.goto(served.url + "/client/")
    dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")

    ground = await page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
    )

    assert (max(ground) < 64) == dark
