"""The facts about the machine, for reading the results."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def facts(servers: list[str]) -> list[str]:
    """Return one line per fact about the machine and the software."""
    packages = ("Django", "psycopg", "mysqlclient", "celery", "redis")
    return [
        f"{_cpu()}, {os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.release()}",
        f"load before {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in packages),
        *servers,
    ]


def _cpu() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.0f} GB"
    return "memory unknown"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
