"""The properties are tried as hard as `tests/thoroughness.py` says."""

from hypothesis import settings

from tests.thoroughness import CHOSEN

settings.load_profile(CHOSEN)
