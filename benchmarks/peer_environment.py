"""An environment for each peer, so that their dependencies do not clash."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .peer_catalog import Peer
from .servers import LeftOut

#: Pythons that are looked for, 3.14 first; some peers need one of the newest.
_MINORS = (14, 13, 12)
_INSTALL_SECONDS = 300
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def environment(peer: Peer, folder: Path) -> tuple[str, str]:
    """Return the Python and the version of *peer*, installed into a folder of *folder*.

    It raises :class:`LeftOut` with the reason if it cannot be installed.
    """
    place = folder / peer.name
    stamp = place / "installed"
    wanted = " ".join(peer.requirements)
    python = str(place / "bin" / "python")
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        sys.stderr.write(f"  installing {peer.name} into {place}\n")
        _run(peer, [newest_python(), "-m", "venv", str(place)])
        _run(peer, [python, "-m", "pip", "install", "--quiet", *peer.requirements])
        stamp.write_text(wanted)
    name = peer.requirements[0].partition("[")[0]
    return python, _run(peer, [python, "-c", _VERSION, name]).strip()


@functools.cache
def newest_python() -> str:
    """Return the newest Python that is here, or the one that runs."""
    for minor in _MINORS:
        name = f"python3.{minor}"
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
        places = [shutil.which(name), *pyenv.glob(f"3.{minor}.*/bin/{name}")]
        for place in [path for path in places if path and sys.version_info < (3, minor)]:
            probe = [place, "-c", "import ensurepip, sys; print(sys.executable)"]
            done = subprocess.run(probe, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return done.stdout.strip()
    return sys.executable


def _run(peer: Peer, command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LeftOut(f"{peer.name}: left out, its installation took too long") from None
    if done.returncode:
        raise LeftOut(f"{peer.name}: left out, {reason_of(done.stderr)}")
    return done.stdout


def reason_of(stderr: str) -> str:
    """Return what pip says first: what it ignored, and then that nothing was found."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return (errors or stderr.splitlines() or ["it did not install"])[0].removeprefix("ERROR: ")
