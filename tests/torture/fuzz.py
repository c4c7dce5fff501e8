"""T15: random arguments, results, errors, names and crontabs in one database.

``SECONDS`` (600) and ``SEED`` (1) in the environment say how long, and which ones.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter

from tests.databases import say

#: Inputs of one transaction, which is rolled back.
BATCH = 100


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    from tests import fuzz

    call_command("migrate", verbosity=0)
    logging.disable()  # each job that fails has its line
    first = int(os.environ.get("SEED", "1")) * 10_000_000
    end = time.monotonic() + float(os.environ.get("SECONDS", "600"))
    done, wrong = Counter[str](), 0
    while time.monotonic() < end:
        with transaction.atomic():
            worker = fuzz.new_worker()
            for seed in range(first, first + BATCH):
                check = fuzz.CHECKS[seed % len(fuzz.CHECKS)]
                done[check.__name__] += 1
                try:
                    with transaction.atomic():
                        check(fuzz.Inputs(seed), worker)
                except Exception as error:
                    wrong += 1
                    say(f"seed {seed}, {check.__name__}: {type(error).__name__}: {error!s:.300}")
            first += BATCH
            transaction.set_rollback(True)
    for name, number in sorted(done.items()):
        say(f"{name:16} {number:>9,}")
    say(f"{done.total():,} inputs, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
