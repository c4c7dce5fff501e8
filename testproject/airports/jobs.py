import time

from django.db import OperationalError, connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from django_jobs import job, progress

from . import source
from .distance import kilometres, nearest, point
from .models import Airport, Comparison, ImportRun, Neighbour, Part, Report
from .report import SourceUnavailable, country_row, reach_source

CHUNK = 400
MOST_PARTS = 64
AIRPORTS_PER_PART = 50


# --- import: one job that enqueues many --------------------------------------------------------


@job(unique=True)
def import_airports(run_id: int) -> int:
    """Enqueue the chunks of an import; return how many."""
    total = len(source.airports())
    calls = [(run_id, first, min(first + CHUNK, total)) for first in range(0, total, CHUNK)]
    with transaction.atomic():
        # After a crash, the second run finds the total, which was committed with the chunks.
        if not ImportRun.objects.filter(pk=run_id, total=None).update(total=total):
            return 0
        import_chunk.delay_many(calls)
    return len(calls)


# With atomic, the rows, the count and the job's SUCCESS commit in one transaction, so no crash can
# count a chunk twice. On MariaDB, two chunks may deadlock; one of them is retried.
@job(atomic=True, autoretry_for=(OperationalError,), retry_backoff=0.5, ignore_result=True)
def import_chunk(run_id: int, first: int, end: int) -> None:
    """Write airports *first* up to *end* and count them; the last chunk finishes the import."""
    chunk = source.airports()[first:end]
    names = [field.name for field in Airport._meta.fields if not field.primary_key]
    target = ["code"] if connection.features.supports_update_conflicts_with_target else None
    Airport.objects.bulk_create(
        chunk, update_conflicts=True, update_fields=names, unique_fields=target
    )
    # At the end, because it locks the run's row until the commit.
    ImportRun.objects.filter(pk=run_id).update(imported=F("imported") + len(chunk))
    complete = ImportRun.objects.filter(pk=run_id, imported=F("total"))
    if complete.update(finished_at=timezone.now()):
        start_the_rest()


def start_the_rest() -> None:
    """Enqueue the first comparison and the first report, which need airports."""
    if not Comparison.objects.exists():
        compare("IATA")
    if not Report.objects.exists():
        enqueue_report()


# --- nearest neighbours: parallel jobs ----------------------------------------------------------


@transaction.atomic
def compare(scope: str) -> Comparison:
    """Enqueue the comparison of the airports in *scope*, in parts that run side by side."""
    total = in_scope(scope).count()
    size = max(AIRPORTS_PER_PART, -(-total // MOST_PARTS))
    comparison = Comparison.objects.create(scope=scope, airports=total)
    if total < 2:
        return comparison
    parts = [
        Part.objects.create(comparison=comparison, first=first, end=min(first + size, total))
        for first in range(0, total, size)
    ]
    results = compare_airports.delay_many([(part.pk,) for part in parts])
    for part, result in zip(parts, results, strict=True):
        Part.objects.filter(pk=part.pk).update(job_id=result.id)
    return comparison


# Not atomic: a transaction around the computation would block SQLite's other writers.
@job(queue="maths", unique=True, soft_time_limit=300)
def compare_airports(part_id: int) -> dict[str, float]:
    """Find the nearest neighbour of each airport of a part."""
    began = time.monotonic()
    part = Part.objects.select_related("comparison").get(pk=part_id)
    places = in_scope(part.comparison.scope).values_list("code", "latitude", "longitude")
    codes = [code for code, _, _ in places]
    points = [point(latitude, longitude) for _, latitude, longitude in places]
    found = []
    for index in range(part.first, min(part.end, len(points))):
        other = nearest(index, points)
        distance = kilometres(points[index], points[other])
        found.append((codes[index], codes[other], distance))
    _store(part, found, time.monotonic() - began)
    longest = max((distance for _, _, distance in found), default=0.0)
    return {"airports": len(found), "longest_km": round(longest, 1)}


def in_scope(scope: str) -> QuerySet[Airport]:
    airports = Airport.objects.order_by("code")
    if scope == "ALL":
        return airports
    return airports.exclude(iata="") if scope == "IATA" else airports.filter(country=scope)


@transaction.atomic
def _store(part: Part, found: list[tuple[str, str, float]], seconds: float) -> None:
    part.neighbour_set.all().delete()
    Neighbour.objects.bulk_create(
        Neighbour(part=part, airport_id=code, nearest_id=other, kilometres=distance)
        for code, other, distance in found
    )
    Part.objects.filter(pk=part.pk).update(seconds=seconds)


# --- report: a source that fails ----------------------------------------------------------------


@transaction.atomic
def enqueue_report() -> Report:
    report = Report.objects.create()
    result = build_report.delay(report.pk)
    Report.objects.filter(pk=report.pk).update(job_id=result.id)
    return report


# Retried after about 1, 2, 4 and 8 s, with jitter.
@job(queue="reports", autoretry_for=(SourceUnavailable,), max_retries=4, retry_backoff=1)
def build_report(report_id: int) -> int:
    """Compute the figures of each country; return how many countries there are."""
    codes = Airport.objects.order_by("country").values_list("country", flat=True).distinct()
    countries = list(codes)
    rows = []
    for done, country in enumerate(countries):
        if done % 20 == 0:
            progress(done, len(countries), f"{done} of {len(countries)} countries.")
        if done == len(countries) // 2:
            reach_source()
        rows.append(country_row(country))
    rows.sort(key=lambda row: -row["airports"])
    Report.objects.filter(pk=report_id).update(rows=rows, finished_at=timezone.now())
    progress(len(rows), len(rows), f"{len(rows)} countries.")
    return len(rows)
