"""Checks a wheel and a source distribution: ``python .ci/check_distributions.py FOLDER``.

The wheel holds all that the package needs beside its Python files, and no more. The source
distribution holds every file of the repository.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_jobs"


def check_wheel(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for needed in ("py.typed", "migrations/0001_initial.py"):
        assert f"django_jobs/{needed}" in wanted, needed
    for folder in ("templates", "static"):
        assert any(f"/{folder}/" in name for name in wanted), f"no {folder} in the package"
    missing = sorted(wanted - names)
    assert not missing, f"the wheel lacks {missing}"
    strange = sorted(n for n in names - wanted if ".dist-info/" not in n)
    assert not strange, f"the wheel should not hold {strange}"
    assert any(name.endswith("/LICENSE") for name in names), "the wheel lacks the LICENSE"
    return len(wanted)


def check_source(source: Path) -> int:
    with tarfile.open(source) as archive:
        # Below a folder with the name and the version.
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT)  # noqa: S607
    wanted = set(tracked.decode().rstrip("\0").split("\0"))
    missing = sorted(wanted - names)
    assert not missing, f"the source distribution lacks {missing}"
    return len(wanted)


def main(folder: str) -> None:
    (wheel,), (source,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    sys.stdout.write(f"{wheel.name} holds all {check_wheel(wheel)} files of the package\n")
    sys.stdout.write(f"{source.name} holds all {check_source(source)} files of the repository\n")


main(sys.argv[1])
