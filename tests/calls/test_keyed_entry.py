"""Keys become an entry; the record masks it."""

import pytest

from calls.keyed_entry import MAX_KEYS, PAUSE_S, KeyedEntry


def keyed(entry: KeyedEntry, keys: str) -> list[str]:
    """Return the entries that ended while keys were pressed, one every tenth of a second."""
    ended = (entry.press(key, 10.0 + at / 10) for at, key in enumerate(keys))
    return [entry for entry in ended if entry is not None]


@pytest.mark.parametrize(
    ("lengths", "keys", "entries"),
    [
        ([], "471529#", ["471529"]),
        ([], "471529", []),
        ([], "*7*#", ["*7*"]),
        ([], "12#34#", ["12", "34"]),
        ([], "7" * MAX_KEYS + "8", ["7" * MAX_KEYS]),
        ([6], "471529", ["471529"]),
        ([6], "47#", ["47"]),
        ([4, 6], "471529", ["471529"]),
        ([4], "47152", ["4715"]),
    ],
)
def test_an_entry_ends_with_the_hash_key_or_the_longest_length_that_tools_expect(
    lengths: list[int], keys: str, entries: list[str]
) -> None:
    assert keyed(KeyedEntry(lengths), keys) == entries


def test_a_pause_ends_an_entry() -> None:
    entry = KeyedEntry()
    keyed(entry, "47")

    assert entry.wake_at == pytest.approx(10.1 + PAUSE_S)
    assert entry.tick(10.0 + PAUSE_S) is None
    assert entry.tick(10.1 + PAUSE_S) == "47"
    assert entry.wake_at is None
    assert entry.tick(99.0) is None


def test_a_hash_key_alone_is_an_entry_after_a_pause() -> None:
    entry = KeyedEntry()

    assert keyed(entry, "#") == []
    assert entry.tick(10.0 + PAUSE_S) == "#"


def test_an_entry_can_be_ended_early() -> None:
    entry = KeyedEntry()
    keyed(entry, "47")

    assert entry.end() == "47"
    assert entry.wake_at is None
    assert keyed(entry, "15#") == ["15"]


@pytest.mark.parametrize(
    ("lengths", "kept", "entry", "recorded"),
    [
        ([], None, "4715", "****"),
        ([4], None, "4715", "4715"),
        ([6], None, "47", "**"),
        ([4, 6], [6], "4715", "****"),
        ([4, 6], [6], "471529", "471529"),
    ],
)
def test_the_record_has_an_entry_whose_length_a_tool_expects_and_does_not_hide(
    lengths: list[int], kept: list[int] | None, entry: str, recorded: str
) -> None:
    assert KeyedEntry(lengths, unmasked_lengths=kept).recorded(entry) == recorded
