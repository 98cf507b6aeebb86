"""The key figures of a campaign."""

from dataclasses import replace

from campaigns.report import CampaignHealth, figure_lines, key_figures
from campaigns.store.dials import DialCosts
from campaigns.store.figures import CampaignStanding, OutcomeFigures, ReachedContacts

STANDING = CampaignStanding(
    name="spring",
    state="running",
    contacts={"done": 3, "excluded": 1, "waiting": 4, "resting": 2},
    outcomes={},
)
HOUSE = CampaignHealth(open_s=33.0, mttr_s=9.5, incidents_open=1, alerts=3, called_s=1800.0)
OUTCOMES = (
    OutcomeFigures(
        outcome="completed",
        dials=3,
        length_s=90.0,
        costs=DialCosts(carrier=0.03, providers=0.06, carrier_owed=1),
    ),
    OutcomeFigures(outcome="busy", dials=4, length_s=0.0, costs=DialCosts()),
    OutcomeFigures(
        outcome="agent_failed", dials=1, length_s=6.0, costs=DialCosts(carrier=0.01, unpriced=1)
    ),
    OutcomeFigures(outcome="refused", dials=1, length_s=0.0, costs=DialCosts()),
)
REACHED = ReachedContacts(dialled=5, completed=2, talked=4, abandoned=1)


def test_figures_are_printed_with_the_parts_missing_from_a_sum() -> None:
    figures = key_figures(STANDING, OUTCOMES, reached=REACHED, pool=HOUSE)

    told = dict(figure_lines(figures))

    assert told == {
        "contacts": "4 of 10 finished",
        "dials": "8",
        "success rate": "40.0 %",
        "retry rate": "37.5 %",
        "failures on our side": "12.5 %",
        "abandoned calls": "1 (25.0 %)",
        "breakers open": "33.0 s",
        "time to recover": "9.5 s (1 open)",
        "alerts per hour": "6.0 (3 in all)",
        "talked": "1.6 min",
        "carrier cost": "0.0400",
        "provider cost": "0.0600",
        "cost": "0.1000 (1 without the carrier's price, 1 unpriced)",
        "cost per contact": "at least 0.0200",
        "cost per success": "at least 0.0500",
    }


def test_without_calls_there_is_no_share_and_no_time() -> None:
    nothing = key_figures(
        replace(STANDING, contacts={}),
        (),
        reached=ReachedContacts(dialled=0, completed=0),
        pool=CampaignHealth(),
    )

    told = dict(figure_lines(nothing))

    dash = "–"  # noqa: RUF001 - as people are told
    assert {name for name, value in told.items() if value == dash} == {
        "success rate",
        "retry rate",
        "failures on our side",
        "breakers open",
        "time to recover",
        "alerts per hour",
        "cost per contact",
        "cost per success",
    }
    assert told["abandoned calls"] == f"0 ({dash})"
