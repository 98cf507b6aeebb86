"""The ring of the latest samples, compared with a plain list."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.turn.echo import ECHO_KEPT_S, Track

RATE_HZ = 10
SIZE = round(ECHO_KEPT_S * RATE_HZ)


@given(
    st.lists(st.tuples(st.integers(-5, 2 * SIZE), st.integers(0, 3 * SIZE)), max_size=8),
    st.integers(-SIZE, 4 * SIZE),
)
def test_the_ring_has_the_latest_samples_and_silence_in_gaps(
    pieces: list[tuple[int, int]], before_end: int
) -> None:
    track, all_of_them = Track(RATE_HZ), np.zeros(0)
    for gap, length in pieces:
        samples = np.arange(1, length + 1, dtype=np.int16)
        track.put(samples, track.end + gap)
        all_of_them = np.concatenate([all_of_them, np.zeros(max(0, gap)), samples])

    start = all_of_them.size - before_end
    kept = all_of_them.copy()
    kept[: max(0, kept.size - SIZE)] = 0.0
    wanted = [kept[at] if 0 <= at < kept.size else 0.0 for at in range(start, start + SIZE)]

    assert track.end == all_of_them.size
    assert track.between(start, start + SIZE).tolist() == wanted
