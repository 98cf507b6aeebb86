"""The table of prices."""

from pathlib import Path

import pytest

from calls.cost import cost
from calls.events import UsageMeasured
from configuration.errors import ConfigError
from configuration.prices import load_prices
from providers import cartesia, deepgram, elevenlabs, openai

ROW = """
  - {stage: tts, model: m, characters_per_million: 10, date: 2026-01-02, source: here}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("stage", "model"),
    [
        ("stt", deepgram.MODEL),
        ("stt", "stt-rt-v5"),
        ("stt", "universal-3-6-pro"),
        ("llm", openai.MODEL),
        ("llm", "claude-sonnet-4-6"),
        ("tts", cartesia.MODEL),
        ("tts", elevenlabs.MODEL),
        ("tts", "aura-2-helena-en"),
        ("tts", "gpt-4o-mini-tts"),
    ],
)
def test_every_providers_usual_model_has_a_price_with_date_and_source(
    stage: str, model: str
) -> None:
    rate = load_prices().rates[stage, model]

    assert rate.source
    assert rate.date >= "2025-01-01"


def test_a_tts_price_is_used_as_written(tmp_path: Path) -> None:
    table = load_prices(written(tmp_path, f"currency: EUR\nprices: {ROW}"))

    assert table.currency == "EUR"
    usage = UsageMeasured(turn=1, stage="tts", provider="p", model="m", characters=100_000)
    assert cost(usage, table) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currency: [", "cannot be read"),
        ("[" * 1500, "cannot be read"),
        ("currency: USD", "prices"),
        (f"currency: USD\nprices: {ROW.replace('10', '-1')}", "prices[0].characters_per_million"),
        (f"currency: USD\nprices: {ROW.replace('date: 2026-01-02, ', '')}", "prices[0].date"),
        (f"currency: USD\nprices: {ROW.replace('2026-01-02', '2026-13-02')}", "prices[0].date"),
        (f"currency: USD\nprices: {ROW}{ROW}", "tts m is priced twice"),
    ],
    ids=["yaml", "deep", "missing", "negative", "undated", "no date", "twice"],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_prices(written(tmp_path, text))

    assert says in refused.value.problems[0].line
    assert "prices.yaml" in refused.value.problems[0].line


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prices(tmp_path / "nowhere.yaml")
