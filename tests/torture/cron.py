"""Every expression in every zone against the oracle: a million ticks and more, no mismatch.

``EXPRESSIONS`` (504) and ``SEED`` (1) in the environment change what is looked at.
"""

from __future__ import annotations

import os
import random
import sys
import time
from zoneinfo import ZoneInfo

from tests.beat import oracle
from tests.databases import say


def main() -> int:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.beat.test_crontab import compare

    seed = int(os.environ.get("SEED", "1"))
    expressions = oracle.expressions(int(os.environ.get("EXPRESSIONS", "504")), seed)
    chance = random.Random(seed)
    began, mismatches, total = time.monotonic(), 0, 0
    for zone in oracle.ZONES:
        ticks = 0
        for expression in expressions:
            try:
                ticks += compare(expression, ZoneInfo(zone), chance, 4)
            except AssertionError as error:
                mismatches += 1
                say(f"MISMATCH {str(error)[:500]}")
        total += ticks
        say(f"{zone:22} {ticks:>9,} ticks")
    say(
        f"{len(expressions)} expressions, {len(oracle.ZONES)} zones: {total:,} ticks, "
        f"{mismatches} mismatches, {time.monotonic() - began:.0f} s"
    )
    return int(mismatches > 0 or (total < 1_000_000 and "EXPRESSIONS" not in os.environ))


if __name__ == "__main__":
    sys.exit(main())
