"""``python -m tests.torture.play NAME``: plays one scenario on one database, prints its table."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback

from tests.torture.checker import Line, prepare, table

LEFT_OUT = 77
#: The scenario itself failed: nothing is known about the invariants.
BROKEN = 70


def main(name: str) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.torture.settings"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    import django

    django.setup()
    from django.core.management import call_command

    from tests.torture.site import LeftOut, Site

    scenario = importlib.import_module(f"tests.torture.{name}")
    began = time.monotonic()
    site = Site(name)
    try:
        if not getattr(scenario, "MIGRATES", False):
            call_command("migrate", verbosity=0)
            prepare()
        lines: list[Line] = scenario.play(site)
    except LeftOut as error:
        sys.stdout.write(f"  left out: {error}\n")
        return LEFT_OUT
    except KeyboardInterrupt:
        sys.stdout.write(site.ends_of_logs())
        raise
    except TimeoutError as error:
        lines = [Line("not in time", str(error), is_wrong=True)]
    except Exception:
        sys.stdout.write(site.ends_of_logs() + traceback.format_exc())
        return BROKEN
    finally:
        logs = site.ends_of_logs()
        site.clean_up()
    lines.append(Line("took", f"{time.monotonic() - began:.0f} s"))
    is_wrong = any(line.is_wrong for line in lines)
    sys.stdout.write((logs if is_wrong else "") + table(lines) + "\n")
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
