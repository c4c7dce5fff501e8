"""T14: 10,000 random lives of jobs against a model (:mod:`tests.run.test_life`)."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    environment = {
        "LIFE_EXAMPLES": "10000",
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    command = [sys.executable, "-m", "pytest", "-qs", "--create-db", "tests/run/test_life.py"]
    command += [f"--hypothesis-seed={os.environ.get('SEED', '0')}"]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
