"""What the house does so that the garbage collector does not hold up a call."""

import gc

from bot.process import spare_the_loaded


def test_what_is_loaded_when_the_house_opens_is_not_searched_for_garbage_again() -> None:
    kept = [[] for _ in range(1000)]
    try:
        spare_the_loaded()

        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()
