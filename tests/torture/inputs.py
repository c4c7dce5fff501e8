"""T15: a million values as JSON and a million crontabs, without a database.

``INPUTS`` (1,000,000) and ``SEED`` (1) in the environment change how many, and which ones.
"""

from __future__ import annotations

import os
import sys
import time

from tests.databases import say


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests import fuzz

    number, seed = int(os.environ.get("INPUTS", "1000000")), int(os.environ.get("SEED", "1"))
    wrong = 0
    for what, check in (
        ("values", lambda inputs: fuzz.check_text_of(inputs.value())),
        ("crontabs", lambda inputs: fuzz.is_crontab(inputs.crontab())),
    ):
        began, found = time.monotonic(), 0
        for one in range(number):
            try:
                check(fuzz.Inputs(seed * number + one))
            except Exception as error:
                found += 1
                say(f"seed {seed * number + one}: {type(error).__name__}: {error!s:.300}")
        wrong += found
        say(f"{what:9} {number:>9,}, {found} wrong, {time.monotonic() - began:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
