"""Makes all pictures of the documentation: ``python -m docs.pictures``.

It starts a demo of its own in a temporary folder, gives it work and a past, and takes pages in
light and in dark, an animation of the dashboard, and what the terminal shows. It needs Chromium and
the extra ``demo``, and takes four minutes.
"""

from __future__ import annotations

import base64
import io
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from .screenshots import Browser, browser, log_in
from .terminal_pictures import write_terminal

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
PATIENCE = 240.0
# Of the past: an hour to show, and the one before, with which it is compared.
MINUTES = 120
THEMES = ("light", "dark")
#: Of the dashboard.
WIDTH, HEIGHT = 1400, 1000
# Of the animation: pictures, seconds between them, and the part of the size.
FRAMES, PAUSE, SCALE = 40, 0.5, 0.8
MOST_BYTES = 1_500_000
# Of 256 colours.
FREQUENT = 192
# Lines that a worker prints at its start.
BANNER = 6

OFTEN = """
const select = document.querySelector("[data-refresh-seconds]");
select.value = "2";
select.dispatchEvent(new Event("change", {bubbles: true}));
"""


# --- the demo -------------------------------------------------------------------------------------


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run a demo with a database of its own; yield its address."""
    os.environ |= {
        "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
        "DEMO_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "PORT": "8700",
        # Each report fails after its retries.
        "REPORT_FAILURE_RATE": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "testproject.demo"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "The site" in line:
                yield line.split()[-1].rstrip("/")
                return
        raise SystemExit("the demo did not start")
    finally:
        process.terminate()
        process.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the demo did not get there")
        time.sleep(0.5)


def failed_report() -> Any:
    """Return the id of a failed report that a page enqueued, and not the import."""
    from django_jobs.models import Job

    failed = Job.objects.filter(status="FAILURE", name__endswith="build_report", parent_id=None)
    return failed.values_list("pk", flat=True).first()


def fill() -> None:
    """Wait for what the demo does at its start; then write a past and enqueue work."""
    from django_jobs.models import Job
    from testproject.airports.jobs import enqueue_report
    from testproject.airports.models import Report

    until(Report.objects.exists)
    enqueue_report()
    until(lambda: not Job.objects.exclude(status__in=["SUCCESS", "FAILURE"]).exists())
    until(failed_report)
    until(_is_measured)
    _write_past(random.Random(1))
    _hide_folder()
    _add_schedule()
    enqueue_work()


def _hide_folder() -> None:
    """Let tracebacks name a folder as on a server, in place of this checkout's."""
    from django_jobs.models import Attempt

    for attempt in Attempt.objects.exclude(traceback=""):
        attempt.traceback = attempt.traceback.replace(f"{ROOT}/", "/srv/demo/")
        attempt.save(update_fields=["traceback"])


def _is_measured() -> bool:
    from django_jobs.models import Measurement

    return Measurement.objects.filter(seconds=60, name__endswith="compare_airports").exists()


def _write_past(chance: random.Random) -> None:
    """Copy the first minutes of the demo to those before, so that the charts have an hour."""
    from django_jobs.models import Measurement

    rows = list(Measurement.objects.filter(seconds=60))
    first = min(row.starts_at for row in rows)
    named = {(row.queue, row.name): row for row in rows}
    copies = []
    for minute, row in itertools.product(range(1, MINUTES), named.values()):
        if chance.random() > (0.2 if row.failed else 0.8):
            continue
        past = Measurement.objects.get(pk=row.pk)
        past.pk = None
        past._state.adding = True
        past.starts_at = first - 60 * minute
        past.succeeded = round(past.succeeded * chance.uniform(0.5, 1.4))
        past.errors = {
            name: [number, last - 60 * minute, sample]
            for name, (number, last, sample) in past.errors.items()
        }
        copies.append(past)
    Measurement.objects.bulk_create(copies)


def _add_schedule() -> None:
    from django_jobs.models import Schedule

    Schedule.objects.create(
        name="Draw a picture", job_name="testproject.gallery.jobs.draw_samples", args=[100, 1],
        kind="interval", interval_seconds=300, queue="pictures",
    )  # fmt: skip


def enqueue_work() -> None:
    """Enqueue a minute of work, so that a page taken now shows jobs that run and that wait."""
    from testproject.airports.jobs import compare, enqueue_report
    from testproject.gallery.jobs import draw_samples

    compare("IATA")
    compare("IATA")
    enqueue_report()
    draw_samples.delay(200 + int(time.time()) % 1000 * 10, 10)


# --- pages ----------------------------------------------------------------------------------------


def take_pages(page: Browser, site: str, report: Any) -> None:
    pages = {
        "dashboard": ("dashboard/", WIDTH, HEIGHT),
        "jobs": ("job/", 1600, 860),
        "job": (f"job/{report}/change/", 1200, 1000),
        "function": ("function/testproject.airports.jobs.compare_airports/?window=1h", 1400, 1000),
    }
    for name, (path, width, height) in pages.items():
        for theme in THEMES:
            use(page, theme)
            png = page.take(f"{site}/admin/django_jobs/{path}", width, height)
            save(f"{name}{'' if theme == 'light' else '-dark'}.png", png)
    shown = [(IMAGES / name).read_bytes() for name in ("dashboard.png", "dashboard-dark.png")]
    write_both("dashboard", "png", shown)


def use(page: Browser, theme: str) -> None:
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}]
    )


def save(name: str, png: bytes) -> None:
    path = IMAGES / name
    with Image.open(io.BytesIO(png)) as picture:
        with_palette(picture.convert("RGB")).save(path, optimize=True)
    tell(path)


def with_palette(picture: Image.Image) -> Image.Image:
    """Return the picture with 256 colours, which make a third of the bytes.

    The colours of a page stay as they are: the most frequent ones, and others that are rare.
    """
    counted: Any = picture.getcolors(picture.width * picture.height)
    rare = picture.quantize(256 - FREQUENT, Image.Quantize.MAXCOVERAGE).convert("RGB")
    others: Any = rare.getcolors(256)
    kept: list[tuple[int, ...]] = []
    for most, found in ((FREQUENT, counted), (256, others)):
        for _number, colour in sorted(found, reverse=True):
            if len(kept) < most and all(map(_differs, itertools.repeat(colour), kept)):
                kept.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*itertools.chain.from_iterable(kept)])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _differs(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    # Pillow looks colours up in steps of four, so near ones take the place of each other.
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) > 6


def write_both(name: str, kind: str, pictures: list[bytes]) -> Path:
    """Write an SVG with the light and the dark picture: the reader's browser chooses.

    Neither an index page nor GitHub allows an HTML element for that in reStructuredText.
    """
    parts = []
    for theme, picture in zip(THEMES, pictures, strict=True):
        data = base64.b64encode(picture).decode()
        parts.append(
            f'<image class="{theme}" width="{WIDTH}" height="{HEIGHT}"'
            f' href="data:image/{kind};base64,{data}"/>'
        )
    dark = ".dark{display:inline}.light{display:none}"
    style = f".dark{{display:none}}@media(prefers-color-scheme:dark){{{dark}}}"
    path = IMAGES / f"{name}.svg"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}"><style>{style}</style>{"".join(parts)}</svg>\n'
    )
    tell(path)
    return path


def animate(page: Browser, site: str) -> None:
    path = write_both("animation", "gif", [animation(page, site, theme) for theme in THEMES])
    assert path.stat().st_size <= MOST_BYTES, "the animation is too large"


def animation(page: Browser, site: str, theme: str) -> bytes:
    """Take the dashboard for twenty seconds, while it refreshes itself every two."""
    use(page, theme)
    size = (round(WIDTH * SCALE), round(HEIGHT * SCALE))
    page.take(f"{site}/admin/django_jobs/dashboard/", WIDTH, HEIGHT)
    page.call("Runtime.evaluate", expression=OFTEN)
    frames: list[Image.Image] = []
    begun = time.monotonic()
    for number in range(FRAMES):
        time.sleep(max(0.0, begun + number * PAUSE - time.monotonic()))
        png = base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])
        with Image.open(io.BytesIO(png)) as picture:
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        frames.append(small)
        if number == FRAMES // 2:
            enqueue_work()
    palette = with_palette(frames[-1])
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    gif = io.BytesIO()
    shown[0].save(
        gif, "GIF", save_all=True, append_images=shown[1:], duration=round(PAUSE * 1000), loop=0,
        optimize=True,
    )  # fmt: skip
    return gif.getvalue()


def tell(path: Path) -> None:
    sys.stdout.write(f"{path.name}: {path.stat().st_size // 1024} KiB\n")


# --- the terminal ---------------------------------------------------------------------------------


def take_terminal(folder: Path) -> None:
    top = [sys.executable, "manage.py", "jobs", "top"]
    done = subprocess.run(top, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    write_terminal(IMAGES / "top.svg", "manage.py jobs top", done.stdout.splitlines())
    logged = (folder / "demo.log").read_text().splitlines()
    start = next(n for n, line in enumerate(logged) if line.startswith("django_jobs worker"))
    told = [line for line in logged if re.search(r" django_jobs\.(worker|job) ", line)]
    told = [re.sub(r"id=([0-9a-f]{8})-[0-9a-f-]{27}", r"id=\1…", line) for line in told]
    lines = [*logged[start : start + BANNER], *told]
    write_terminal(IMAGES / "runworker.svg", "manage.py runworker --concurrency 2", lines[:22])
    for name in ("top.svg", "runworker.svg"):
        tell(IMAGES / name)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, demo(folder := Path(name)) as site:
        import django

        django.setup()
        fill()
        _opener, session = log_in(site)
        with browser() as page:
            page.call("Network.setCookie", name="sessionid", value=session, url=site)
            page.take(f"{site}/admin/", 800, 600)
            fold = "localStorage.setItem('django.admin.navSidebarIsOpen', 'false')"
            page.call("Runtime.evaluate", expression=fold)
            take_terminal(folder)
            animate(page, site)
            enqueue_work()
            take_pages(page, site, failed_report())


if __name__ == "__main__":
    main()
