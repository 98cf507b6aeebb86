"""The report of a database: equal counts in page and JSON, and no personal data."""

import json
from xml.etree import ElementTree

import pytest

from operations.postmortem import gathering
from operations.postmortem.gathering import gather
from operations.postmortem.page import as_page
from operations.postmortem.story import tell_story
from operations.record import reader as record_reader
from tests.kit.databases import on_sqlite
from tests.operations.postmortem.rows import (
    KEY,
    NUMBER,
    WORDS,
    add_happenings,
    add_moves,
    at,
    fill,
    happening,
    move_values,
)


class TestReport:
    @pytest.fixture
    async def told(self, url: str) -> tuple[dict[str, object], str]:
        await fill(url)
        story = tell_story(await gather(url, at(0), at(60)), budget_s=1.5, made_at=at(60))
        return json.loads(json.dumps(story)), as_page(story)

    async def test_the_report_counts_the_rows_of_the_record(self, told: tuple[dict, str]) -> None:
        story, page = told

        assert story["counts"] == {
            "calls": 2,
            "calls_by_verdict": {"served": 1, "degraded": 0, "hurt": 1, "lost": 0},
            "calls_interrupted": 0,
            "turns": 4,
            "turns_by_verdict": {"served": 2, "degraded": 1, "hurt": 1, "lost": 0},
            "failures": 2,
            "failovers": 2,
            "breaker_moves": 3,
            "breakers_opened": 1,
            "alerts": 1,
            "outages": 1,
        }
        assert story["cost"] == {"USD": 0.5}
        assert len(story["failures"]) == 2
        assert "2 calls: 1 served, 0 degraded, 1 hurt, 0 lost" in page

    @on_sqlite
    async def test_each_outage_has_its_latencies_and_its_alerts(
        self, told: tuple[dict, str]
    ) -> None:
        (outage,) = told[0]["outages"]

        assert (outage["began_at"], outage["ended_at"], outage["lasted_s"]) == (
            at(10).isoformat(timespec="milliseconds"),
            at(13).isoformat(timespec="milliseconds"),
            180.0,
        )
        assert outage["calls_hurt"] == ["c1"]
        assert outage["alerts"] == ["tts/cartesia/network/1"]
        waits = {name: (each["turns"], each["max_s"]) for name, each in outage["latency"].items()}
        assert waits == {"before": (1, 0.9), "during": (2, 2.5), "after": (1, 1.0)}

    @on_sqlite
    async def test_alerts_are_listed_as_sent_with_their_authors(
        self, told: tuple[dict, str]
    ) -> None:
        story, page = told
        (alert,) = story["alerts"]

        assert alert["as_sent"].startswith("RESOLVED: ")
        (outage,) = story["outages"]
        assert outage["says"] == ["cartesia cannot be reached"]
        assert "Cartesia cannot be reached.</td>" in page
        assert "check its url" in page.lower()
        assert "caller_hung_up" not in page
        assert alert["channels"] == {
            "mail": {"sent_revision": 2, "wanted_revision": 2},
            "telegram": {"sent_revision": 1, "wanted_revision": 2},
        }
        assert "telegram: sent as revision 1, a newer one is pending" in page
        assert [item["kind"] for item in story["operators"]] == ["ConfigurationReloaded"]
        assert "by: Ada, outcome: replaced" in page

    @on_sqlite
    async def test_the_page_names_the_other_party_of_a_call(self, told: tuple[dict, str]) -> None:
        story, _ = told
        ours, theirs = "+1555****00", "+1555****99"
        (hurt,) = [item for item in story["calls"] if item["verdict"] == "hurt"]
        hurt |= {"caller": ours, "called": theirs}

        pages = [as_page(story)]
        hurt["direction"] = "outbound"
        pages.append(as_page(story))

        assert [(ours in page, theirs in page) for page in pages] == [(True, False), (False, True)]

    @on_sqlite
    async def test_an_operators_action_is_listed_once_with_author_and_reason(
        self, url: str
    ) -> None:
        why = f"{NUMBER} says Bearer {KEY} <script>"
        by = "Mary (sign-in from 192.0.2.7)"
        await add_happenings(
            url,
            happening("OperatorActed", action="rest", target="cartesia", by=by, why=why),
            happening("OperatorActed", action="reset", target="cartesia", by=by, why=""),
            *[happening("ProviderReset", stage="tts", provider="cartesia")] * 2,  # each process
            happening("OperatorActed", action="resolve", target="tts/x/1", by=by, why="paid"),
        )

        story = tell_story(await gather(url, at(0), at(60)), budget_s=1.5, made_at=at(60))

        page = as_page(story)
        did = [(item["action"], item["target"], item["by"]) for item in story["operators"]]
        assert did == [
            ("rest", "cartesia", by),
            ("reset", "cartesia", by),
            ("resolve", "tts/x/1", by),
        ]
        assert f"action: resolve, target: tts/x/1, by: {by}, why: paid" in page
        assert "says Bearer" in page
        for item in (NUMBER, NUMBER[4:-2], KEY, "<script"):
            assert item not in page
        assert NUMBER not in json.dumps(story)
        assert KEY not in json.dumps(story)

    @on_sqlite
    @pytest.mark.parametrize("moves_in_span", [2, 0])
    async def test_an_outage_that_began_long_before_the_span_has_its_own_beginning(
        self, url: str, moves_in_span: int
    ) -> None:
        in_span = [
            move_values(5, "half_open", before="open"),
            move_values(8, "closed", before="half_open"),
        ]
        await add_moves(
            url,
            *(move_values(-400, "open"), move_values(-390, "closed", before="open")),
            *(move_values(-300, "open", holder="long gone"),),
            *(move_values(-290, "open", holder="gone"),),
            *(move_values(-180, "open"), move_values(-100, "half_open", before="open")),
            *(move_values(-99, "open", before="half_open"), *in_span[:moves_in_span]),
            seen={"one": 60, "gone": -200},
        )

        story = tell_story(await gather(url, at(0), at(60)), budget_s=1.5, made_at=at(60))

        (outage,) = story["outages"]
        ended = at(8).isoformat(timespec="milliseconds") if moves_in_span else None
        assert outage["began_at"] == at(-180).isoformat(timespec="milliseconds")
        assert outage["ended_at"] == ended
        assert story["counts"]["breaker_moves"] == moves_in_span

    @on_sqlite
    async def test_the_report_contains_no_number_no_words_and_no_key(
        self, told: tuple[dict, str]
    ) -> None:
        both = json.dumps(told[0]) + told[1]

        for item in (NUMBER, NUMBER[4:-2], WORDS, KEY):
            assert item not in both
        assert "+1555****77" in both

    @on_sqlite
    async def test_the_page_loads_nothing_and_its_charts_are_complete(
        self, told: tuple[dict, str]
    ) -> None:
        page = told[1]
        charts = [word.partition("</svg>")[0] for word in page.split("<svg")[1:]]

        assert len(charts) == 3
        for item in charts:
            chart = ElementTree.fromstring(f"<svg{item}</svg>")  # noqa: S314 - our own
            assert chart.find("title") is not None
        assert "&lt;script&gt;" in page
        for name in ("<script", "http://", "https://", "src=", "url(", "@import"):
            assert name not in page

    @on_sqlite
    async def test_rows_beyond_one_page_are_requested_again(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(url)
        monkeypatch.setattr(record_reader, "MOST", 2)

        found = await gather(url, at(0), at(60))

        assert len(found.turns) == 4
        assert len(found.breaker_moves) == 3

    @on_sqlite
    async def test_operators_actions_are_found_among_any_number_of_other_events(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(url)
        await add_happenings(url, *[happening("AttemptWon")] * 20)
        monkeypatch.setattr(record_reader, "MOST", 5)
        monkeypatch.setattr(gathering, "MAX_ROWS", 10)

        found = await gather(url, at(0), at(60))

        assert [operator.kind for operator in found.operators] == ["ConfigurationReloaded"]
