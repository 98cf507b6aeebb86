"""The word error rate of a transcript."""

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """Return lower-case words without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return the fewest substitutions, insertions and deletions between two lists of words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            best = min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
            previous, row[j] = row[j], best
    return row[-1]


def word_error(said: str, heard: str) -> float:
    """Return the word error rate; for an empty reference, the number of recognised words."""
    wanted = words_of(said)
    return edits(wanted, words_of(heard)) / max(1, len(wanted))
