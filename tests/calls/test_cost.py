"""What measured use costs."""

import pytest

from calls.cost import PriceTable, Rate, cost
from calls.events import UsageMeasured


def rate(**prices: float) -> Rate:
    return Rate(stage="x", model="x", date="2026-01-01", source="a test", **prices)


TABLE = PriceTable(
    currency="USD",
    rates={
        ("llm", "mini"): rate(
            prompt_per_million=0.4, cached_per_million=0.1, completion_per_million=1.6
        ),
        ("llm", "no-cache-price"): rate(prompt_per_million=1.0, completion_per_million=1.0),
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
        (used("tts", "voice", characters=1_000), 0.05),
        (used("stt", "ear", audio_s=90.0), 0.009),
        (used("llm", "mini"), 0.0),
    ],
    ids=["prompt", "cached", "mixed", "snapshot", "characters", "seconds", "nothing"],
)
def test_use_has_its_price(usage: UsageMeasured, expected: float) -> None:
    assert cost(usage, TABLE) == pytest.approx(expected)


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
def test_what_the_table_does_not_know_has_no_cost(usage: UsageMeasured) -> None:
    assert cost(usage, TABLE) is None


def test_the_table_prices_by_itself() -> None:
    assert TABLE.price(used("tts", "voice", characters=1_000_000)) == pytest.approx(50.0)
