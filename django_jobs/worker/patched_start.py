"""Starts a program after gevent has replaced the standard library.

Nothing that the program imports may keep the old threads, locks or sockets, so this file is run by
its path, and imports gevent before anything else.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the script or, after ``-m``, the module that the arguments name, as Python would."""
    from gevent import monkey

    monkey.patch_all()
    import runpy
    from pathlib import Path

    del sys.argv[0]
    is_module = sys.argv[0] == "-m"
    if is_module:
        del sys.argv[0]
    # Python has put the folder of this file there, unless it was told not to (-P, -I).
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        sys.path[0] = str(Path.cwd() if is_module else Path(sys.argv[0]).resolve().parent)
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def command() -> list[str] | None:
    """Return this process's command line with :func:`main` before it; None if it is no program.

    Code after ``python -c`` and in an embedded interpreter cannot be started once more.
    """
    given, arguments = sys.orig_argv[1:], sys.argv[1:]
    kept = len(given) - len(arguments)
    if kept < 1 or given[kept:] != arguments or not sys.executable:
        return None
    before = given[:kept]
    if before[-2:-1] == ["-m"]:
        options, program = before[:-2], before[-2:]
    elif before[-2:-1] != ["-c"] and before[-1] == sys.argv[0]:
        options, program = before[:-1], before[-1:]
    else:
        return None
    return [sys.executable, *options, __file__, *program, *arguments]


if __name__ == "__main__":
    main()
