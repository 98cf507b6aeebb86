"""Numbers of examples for properties: few locally, more in CI, most for the promise.

That every word is said once, whatever fails, is the promise: `@promised` tries it with ten times as
many examples as CI tries the rest. `HYPOTHESIS_PROFILE=promise` does so for everything, which takes
some minutes more.

`make mutants` runs the properties for each of some thousand changes: few examples, the same ones
every time. `HYPOTHESIS_PROFILE` chooses; without it, CI gets `ci` and a desk `quick`.
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
    phases=[Phase.explicit, Phase.generate],  # the smallest example is not needed
)
settings.register_profile("ci", max_examples=200, stateful_step_count=20, deadline=None)
settings.register_profile("promise", max_examples=2_000, stateful_step_count=20, deadline=None)
CHOSEN = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
promised = settings(settings.get_profile("promise" if CHOSEN == "ci" else CHOSEN))
# Settings of state machines; hypothesis, too, suppresses them for machines of its own.
promised_machine = settings(promised, suppress_health_check=list(HealthCheck))
