"""`python -m fuzz SECONDS [SEED]`: play cases until the time is up; print what was found, or how many were played."""

from __future__ import annotations

import random
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from .target import Case, cases, check

ROUND = 2000  # cases between two looks at the clock


def main(seconds: float, first_seed: int) -> int:
    """Return the exit status."""
    print(f"fuzzing the session for {seconds:g} s, seed {first_seed}", flush=True)
    played = 0
    began = said = time.monotonic()

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(case=cases())
    def play(case: Case) -> None:
        nonlocal played
        played += 1
        check(case)

    number = first_seed
    while (now := time.monotonic()) - began < seconds:
        seed(number)(play)()  # raises with the smallest case that it finds
        number += 1
        if now - said > 10:
            said = now
            print(f"{now - began:6.0f} s  {played} cases, the last seed was {number - 1}", flush=True)
    print(f"nothing found in {played} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9)))
