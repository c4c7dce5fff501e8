"""Checks that a wheel holds all that the package needs beside its Python files, and no more."""

import sys
import zipfile
from pathlib import Path

PACKAGE = Path("django_jobs")


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for needed in ("py.typed", "migrations/0001_initial.py"):
        assert f"{PACKAGE}/{needed}" in wanted, needed
    for folder in ("templates", "static"):
        assert any(f"/{folder}/" in name for name in wanted), f"no {folder} in the package"
    missing = sorted(wanted - names)
    assert not missing, f"the wheel lacks {missing}"
    strange = sorted(n for n in names - wanted if ".dist-info/" not in n)
    assert not strange, f"the wheel should not hold {strange}"
    assert any(name.endswith("/LICENSE") for name in names), "the wheel lacks the LICENSE"
    sys.stdout.write(f"{Path(wheel).name} holds all {len(wanted)} files of the package\n")


main(sys.argv[1])
