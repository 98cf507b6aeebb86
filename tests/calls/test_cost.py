"""The cost of measured use."""

from dataclasses import replace

import pytest

from calls.cost import Bill, CostMeter, Costs, PriceTable, Rate, cost
from calls.events import BargedIn, CallEnded, Event, TurnCosted, TurnDecided, UsageMeasured


def rate(**prices: float) -> Rate:
    return Rate(stage="x", model="x", date="2026-01-01", source="a test", **prices)


TABLE = PriceTable(
    currency="USD",
    rates={
        ("llm", "mini"): rate(
            prompt_per_million=0.4, cached_per_million=0.1, completion_per_million=1.6
        ),
        ("llm", "no-cache-price"): rate(prompt_per_million=1.0, completion_per_million=1.0),
        ("llm", "mini-2026-01-01"): rate(completion_per_million=3.2),
        ("tts", "voice"): rate(characters_per_million=50.0),
        ("stt", "ear"): rate(audio_per_minute=0.006),
    },
)


def used(stage: str, model: str, **amounts: float) -> UsageMeasured:
    return UsageMeasured(turn=1, stage=stage, provider="p", model=model, **amounts)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (used("llm", "mini", prompt_tokens=1_000_000), 0.4),
        (used("llm", "mini", prompt_tokens=1_000_000, cached_tokens=1_000_000), 0.1),
        (
            used("llm", "mini", prompt_tokens=1_000, cached_tokens=400, completion_tokens=100),
            4.4e-4,
        ),
        (used("llm", "mini-2025-04-14", completion_tokens=1_000_000), 1.6),
        (used("llm", "mini-2026-01-01", completion_tokens=1_000_000), 3.2),
        (used("tts", "voice", characters=1_000), 0.05),
        (used("stt", "ear", audio_s=90.0), 0.009),
        (used("llm", "mini"), 0.0),
    ],
    ids=[
        *("prompt", "cached", "mixed", "snapshot", "a snapshot with its own price"),
        *("characters", "seconds", "nothing"),
    ],
)
def test_use_has_its_price(usage: UsageMeasured, expected: float) -> None:
    assert cost(usage, TABLE) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "usage",
    [
        used("llm", "unheard-of", prompt_tokens=1),
        used("tts", "mini", characters=1),
        used("llm", "no-cache-price", prompt_tokens=10, cached_tokens=5),
        used("tts", "", characters=1),
    ],
    ids=["model", "stage", "unit", "nameless"],
)
def test_use_without_a_known_price_has_no_cost(usage: UsageMeasured) -> None:
    assert cost(usage, TABLE) is None


ENDED = CallEnded(reason="caller_hung_up", length_s=9.0)


def decided(turn: int) -> TurnDecided:
    return TurnDecided(turn=turn, at_s=0.0)


def spoken(turn: int, characters: int, model: str = "voice", provider: str = "p") -> UsageMeasured:
    return UsageMeasured(
        turn=turn, stage="tts", provider=provider, model=model, characters=characters
    )


def costs_told(*events: Event) -> list[tuple[int, float | None]]:
    meter = CostMeter(TABLE)
    told = [item for event in events for item in meter.handle(event)]
    return [(item.turn, item.cost) for item in told if isinstance(item, TurnCosted)]


def test_measured_use_is_reported_with_its_price() -> None:
    (told,) = CostMeter(TABLE).handle(spoken(1, 1_000))

    assert isinstance(told, UsageMeasured)
    assert told.cost == pytest.approx(0.05)


def test_a_turns_cost_is_reported_before_the_next_turn_and_the_last_one_before_the_end() -> None:
    meter = CostMeter(TABLE)
    events = [spoken(0, 1_000), decided(1), spoken(1, 2_000), ENDED]
    told = [item for event in events for item in meter.handle(event)]

    names = [type(item).__name__ for item in told]
    assert names == [
        *("UsageMeasured", "TurnCosted", "TurnDecided"),
        *("UsageMeasured", "TurnCosted", "CallEnded"),
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([decided(1), ENDED], []),
        ([spoken(0, 1_000), spoken(0, 1_000), decided(1)], [(0, 0.1)]),
        ([spoken(1, 1_000), decided(1), spoken(1, 1_000), decided(2)], [(1, 0.1)]),
        ([spoken(1, 1_000), decided(2), spoken(1, 1_000), ENDED], [(1, 0.05), (1, 0.1)]),
        (
            [decided(1), spoken(1, 1_000), decided(2), spoken(1, 1_000), ENDED],
            [(1, 0.05), (1, 0.1)],
        ),
        ([decided(1), spoken(2, 2_000), spoken(1, 1_000), ENDED], [(1, 0.05), (2, 0.1)]),
        ([spoken(1, 1_000), spoken(1, 9, "unheard-of"), ENDED], [(1, None)]),
    ],
    ids=[
        *("nothing used", "the greeting", "words before the turn", "late"),
        *("late, and nothing before it", "the next turn's words first", "a price not known"),
    ],
)
def test_each_turn_that_used_something_has_its_cost(
    events: list[Event], expected: list[tuple[int, float | None]]
) -> None:
    assert costs_told(*events) == [(turn, pytest.approx(cost)) for turn, cost in expected]


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([spoken(1, 1_000)], TurnCosted(turn=1, cost=0.05, currency="USD")),
        (
            [spoken(1, 9, "unheard-of"), spoken(1, 1_000), spoken(1, 9, "unheard-of")],
            TurnCosted(turn=1, cost=None, currency="USD", unpriced=("tts unheard-of",)),
        ),
        (
            [replace(spoken(1, 500), estimated=True), spoken(1, 500)],
            TurnCosted(turn=1, cost=0.05, currency="USD", estimated=True),
        ),
        (
            [spoken(1, 500), replace(spoken(1, 500), estimated=True)],
            TurnCosted(turn=1, cost=0.05, currency="USD", estimated=True),
        ),
    ],
    ids=["priced", "without a price", "an estimate first", "an estimate last"],
)
def test_a_turns_cost_names_currency_missing_prices_and_own_estimates(
    uses: list[Event], expected: TurnCosted
) -> None:
    meter = CostMeter(TABLE)
    for use in uses:
        meter.handle(use)

    assert meter.handle(ENDED) == (expected, ENDED)


@pytest.mark.parametrize("later", [1, 2, 5])
def test_a_late_bill_is_added_to_the_turns_cost(later: int) -> None:
    meter = CostMeter(TABLE)
    for event in (decided(1), spoken(1, 1_000), *(decided(2 + n) for n in range(later))):
        meter.handle(event)

    *_, told = meter.handle(spoken(1, 1_000))

    assert told == TurnCosted(turn=1, cost=pytest.approx(0.1), currency="USD")


def test_a_last_turn_without_use_is_reported_when_its_bill_comes_after_the_end() -> None:
    meter = CostMeter(TABLE)
    for event in (decided(1), spoken(1, 1_000), decided(2), ENDED):
        meter.handle(event)

    *_, told = meter.handle(spoken(2, 1_000))

    assert told == TurnCosted(turn=2, cost=0.05, currency="USD")


def test_free_use_is_reported_unchanged() -> None:
    meter = CostMeter(TABLE)
    meter.handle(spoken(0, 1_000))

    assert meter.handle(BargedIn(turn=1, at_s=2.0)) == (BargedIn(turn=1, at_s=2.0),)


def test_an_empty_bill_has_no_parts() -> None:
    bill = Bill()

    assert (bill.total, bill.costs) == (0.0, Costs())


def test_a_bill_is_split_by_turn_by_stage_and_by_provider() -> None:
    meter, bill = CostMeter(TABLE), Bill()
    events = [
        spoken(0, 1_000, provider="cartesia"),
        decided(1),
        spoken(1, 1_000, provider="elevenlabs"),
        used("stt", "ear", audio_s=60.0),
        ENDED,
    ]
    for event in events:
        for item in meter.handle(event):
            bill.add(item)

    assert bill.total == pytest.approx(0.106)
    costs = bill.costs
    assert costs.currency == "USD"
    assert costs.turns == {0: pytest.approx(0.05), 1: pytest.approx(0.056)}
    assert costs.stages == {"tts": pytest.approx(0.1), "stt": pytest.approx(0.006)}
    assert costs.providers == {
        "cartesia": pytest.approx(0.05),
        "elevenlabs": pytest.approx(0.05),
        "p": pytest.approx(0.006),
    }
    assert (costs.unpriced, costs.estimated) == ((), False)


def test_a_missing_price_leaves_out_only_the_sums_that_it_is_part_of() -> None:
    meter, bill = CostMeter(TABLE), Bill()
    nameless = UsageMeasured(turn=2, stage="tts", provider="mine", model="", characters=1)
    for event in (spoken(1, 1_000), used("llm", "unheard-of", prompt_tokens=1), nameless):
        for item in meter.handle(event):
            bill.add(item)

    assert bill.total is None
    assert bill.costs.turns == {0: 0.0, 1: None, 2: None}
    assert bill.costs.stages == {"tts": None, "llm": None}
    assert bill.costs.providers == {"p": None, "mine": None}
    assert bill.costs.unpriced == ("llm unheard-of", "tts of mine")


def test_a_turn_without_use_between_two_others_cost_nothing() -> None:
    bill = Bill()
    for turn in (0, 2):
        bill.add(replace(spoken(turn, 1), cost=0.5))

    assert bill.costs.turns == {0: 0.5, 1: 0.0, 2: 0.5}


def test_a_bill_with_an_estimate_says_so() -> None:
    bill = Bill()
    bill.add(replace(spoken(1, 1), cost=0.5, estimated=True))

    assert bill.costs.estimated


def test_requests_after_a_call_belong_to_no_turn_but_to_stage_and_provider() -> None:
    bill = Bill()
    bill.add(replace(spoken(1, 1), cost=0.5))
    bill.add(replace(used("llm", "mini"), cost=0.25, behind_call="c1"))
    bill.add(replace(used("llm", "mini"), cost=0.125, behind_call="c1"))

    assert bill.total == 0.875
    assert bill.costs == Costs(
        turns={0: 0.0, 1: 0.5},
        stages={"tts": 0.5, "llm": 0.375},
        providers={"p": 0.875},
        behind=0.375,
    )


def test_an_unknown_price_after_a_call_leaves_the_turns_unchanged() -> None:
    bill = Bill()
    bill.add(replace(spoken(0, 1), cost=0.5))
    bill.add(replace(used("llm", "unheard-of"), behind_call="c1"))

    assert (bill.total, bill.costs.behind, bill.costs.turns) == (None, None, {0: 0.5})
