"""Hypothesis profiles: few examples locally, more in CI, most for the core promise.

The core promise is that every word is said exactly once, whatever fails. In CI, `@promised` runs a
property with ten times as many examples as the others. `HYPOTHESIS_PROFILE=promise` does so for all
properties, which takes several minutes longer.

`make mutants` runs the properties for each mutation, with few examples that are always the same.
`HYPOTHESIS_PROFILE` selects a profile; the default is `ci` in CI and `quick` elsewhere.
"""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile("quick", max_examples=60, stateful_step_count=30, deadline=None)
settings.register_profile(
    "mutants",
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # without shrinking
)
settings.register_profile("ci", max_examples=200, stateful_step_count=20, deadline=None)
settings.register_profile("promise", max_examples=2_000, stateful_step_count=20, deadline=None)
CHOSEN = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
promised = settings(settings.get_profile("promise" if CHOSEN == "ci" else CHOSEN))
# For state machines; hypothesis suppresses all health checks for them by default, too.
promised_machine = settings(promised, suppress_health_check=list(HealthCheck))
