"""How hard the properties are tried: quick at a desk, thorough in CI.

`make mutants` runs them for each of some thousand changes: few examples, the same ones every time.

`HYPOTHESIS_PROFILE` chooses; without it, CI gets the thorough one.
"""

import os

from hypothesis import Phase, settings

settings.register_profile("quick", max_examples=60, stateful_step_count=30, deadline=None)
settings.register_profile(
    "mutants",
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # nobody looks for the smallest example
)
settings.register_profile("ci", max_examples=2_000, stateful_step_count=20, deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
)
