"""Profiles of hypothesis: pytest --hypothesis-profile=hunt searches as long as one has patience."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,  # the suite says the same today and tomorrow; `hunt` looks elsewhere
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "hunt", settings.get_profile("default"), derandomize=False, max_examples=20_000
)
settings.load_profile("default")

# Where the suite runs in the background the shell has it ignore Ctrl-C, and what it starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)
