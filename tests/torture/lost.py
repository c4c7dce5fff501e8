"""T5: each message of the engine to its database is lost once, before its effect and after it."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    environment = {"LOST_EVERY": "1"} | os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--create-db",
        "tests/db/test_lost_anywhere.py",
    ]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
