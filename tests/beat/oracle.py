"""Cron by brute force: an independent reading of crontab(5), compared with what the clock shows.

It knows nothing of croniter. On every day near a change of the clock it looks at each minute, and
on the others a time on the wall is one moment.
"""

from __future__ import annotations

import calendar
import datetime
import functools
import random
from collections.abc import Iterator
from zoneinfo import ZoneInfo

MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
FIRST = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
LAST = datetime.datetime(2033, 1, 1, tzinfo=datetime.UTC)
ZONES = (
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo",
    "America/St_Johns", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Asia/Kathmandu",
    "Asia/Kolkata", "Africa/Casablanca", "Africa/Cairo", "Asia/Jerusalem", "America/Santiago",
    "Antarctica/Troll",
)  # fmt: skip

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NAMES = {name: n for n, name in enumerate(_MONTHS, 1)} | {name: n for n, name in enumerate(_DAYS)}
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class Cron:
    """An expression as crontab(5) explains it."""

    def __init__(self, expression: str) -> None:
        text = _ALIASES.get(expression, expression).lower()
        minute, hour, self.day, month, self.weekday = text.split()
        self.minutes = sorted(_numbers(minute, 0, 59))
        self.hours = sorted(_numbers(hour, 0, 23))
        self.months = _numbers(month, 1, 12)
        self.either = self.day[0] != "*" and self.weekday[0] != "*"
        self.wildcard = "*" in (minute[0], hour[0])

    @property
    def a_day(self) -> int:
        return len(self.minutes) * len(self.hours)

    def has_day(self, date: datetime.date) -> bool:
        if date.month not in self.months:
            return False
        last = calendar.monthrange(date.year, date.month)[1]
        day = any(
            date.day == last if part == "l" else date.day in _numbers(part, 1, 31)
            for part in self.day.split(",")
        )
        weekday = any(_is_weekday(part, date, last) for part in self.weekday.split(","))
        return (day or weekday) if self.either else (day and weekday)

    def ticks(
        self, zone: ZoneInfo, start: datetime.datetime, end: datetime.datetime
    ) -> list[datetime.datetime]:
        """All ticks from *start* to before *end*, in UTC."""
        found: set[datetime.datetime] = set()
        date = start.date() - 2 * DAY
        while date <= end.date() + 2 * DAY:
            if self.has_day(date):
                midnight = datetime.datetime.combine(date, datetime.time())
                for hour in self.hours:
                    for minute in self.minutes:
                        local = midnight + hour * HOUR + minute * MINUTE
                        found.update(self._moments(local, zone))
            date += DAY
        return sorted(moment for moment in found if start <= moment < end)

    def _moments(self, local: datetime.datetime, zone: ZoneInfo) -> Iterator[datetime.datetime]:
        offset = steady(zone, local.date())
        if offset is not None:
            yield (local - offset).replace(tzinfo=datetime.UTC)
            return
        shown = minutes_around(zone, local.date())
        if self.wildcard:
            yield from shown.get(local, [])
        elif local in shown:
            yield shown[local][0]
        else:
            yield min(moments[0] for wall, moments in shown.items() if wall > local)


@functools.cache
def steady(zone: ZoneInfo, date: datetime.date) -> datetime.timedelta | None:
    """The offset, when no clock is changed from two days before *date* to three days after."""
    noon = datetime.datetime.combine(date, datetime.time(), datetime.UTC)
    # No zone changes its clock there and back within half a day.
    offsets = {(noon + n * HOUR).astimezone(zone).utcoffset() for n in range(-48, 96, 11)}
    return offsets.pop() if len(offsets) == 1 else None


@functools.cache
def minutes_around(
    zone: ZoneInfo, date: datetime.date
) -> dict[datetime.datetime, list[datetime.datetime]]:
    """Every minute around *date*: what the clock shows, and at which moments."""
    start = datetime.datetime.combine(date, datetime.time(), datetime.UTC) - DAY
    found: dict[datetime.datetime, list[datetime.datetime]] = {}
    for hour in (start + number * HOUR for number in range(3 * 24)):
        first = wall(zone, hour)
        unchanged = wall(zone, hour + HOUR) == first + HOUR
        for moment in (hour + number * MINUTE for number in range(60)):
            shown = first + (moment - hour) if unchanged else wall(zone, moment)
            found.setdefault(shown, []).append(moment)
    return found


def wall(zone: ZoneInfo, moment: datetime.datetime) -> datetime.datetime:
    """The moment that the clock shows."""
    return moment.astimezone(zone).replace(tzinfo=None)


@functools.cache
def changes(zone: ZoneInfo) -> list[datetime.datetime]:
    """The hours in which the clock is changed; for a zone without changes some days."""
    found = []
    for day in (FIRST + number * DAY for number in range((LAST - FIRST).days)):
        if wall(zone, day + DAY) != wall(zone, day) + DAY:
            hours = [day + number * HOUR for number in range(24)]
            found += [hour for hour in hours if wall(zone, hour + HOUR) != wall(zone, hour) + HOUR]
    return found or [FIRST + n * 333 * DAY for n in range(9)]


@functools.cache
def _numbers(field: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else int(_NAMES.get(first, first))
        end = int(_NAMES.get(last, last)) if last else high if step or span == "*" else begin
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _is_weekday(part: str, date: datetime.date, last: int) -> bool:
    number = date.isoweekday() % 7
    if "#" in part:
        name, nth = part.split("#")
        return number in _sundays(name) and (date.day - 1) // 7 + 1 == int(nth)
    if part[0] == "l":
        return number in _sundays(part[1:]) and date.day + 7 > last
    return number in _sundays(part)


def _sundays(part: str) -> set[int]:
    # 0 and 7 both mean Sunday; a * ends at Saturday.
    return {number % 7 for number in _numbers(part, 0, 6 if part[0] == "*" else 7)}


CURATED = (
    "* * * * *", "*/15 * * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "0 */2 * * *",
    "*/10 2 * * *", "*/30 1,2 * * *", "30 1 * * *", "30 2 * * *", "0 2 * * *", "0 3 * * *",
    "59 1 * * *", "1 2 * * *", "0,30 2 * * *", "0,15,30,45 1-3 * * *", "0-59 2 * * *",
    "5 0-23 * * *", "0 0 * * *", "30 0 * * *", "59 23 * * *", "0 0 1 1 *", "59 23 31 12 *",
    "0 0 29 2 *", "30 2 29 2 *", "0 12 29 2 mon", "0 0 28-31 2 *", "0 0 31 * *", "0 0 30 * *",
    "0 0 L * *", "30 2 L * *", "0 0 L 2 *", "0 0 1,L * *", "0 0 * * 5#1", "30 2 * * 0#2",
    "30 1 * * 0#1", "0 2 * * L0", "30 2 * 3,10 L0", "0 0 * * 5#5", "0 0 13 * 5", "0 0 13 * fri",
    "0 0 1-7 * mon", "0 0 1 * 0-6", "0 0 1-31 * 1", "0 0 */2 * 1", "0 0 1 * */2", "30 2 */7 * sun",
    "0 9 * * mon-fri", "30 2 * * sun", "30 1 * * 7", "0 0 * * 6-7", "0 0 * * 5-7", "0 0 1 1,jul *",
    "0 0 * mar-may *", "15 3 1 */3 *", "*/5 0-4 * 3,4,10,11 *", "@hourly", "@daily", "@weekly",
    "@monthly", "@yearly", "0 2-4/2 * * *", "0/20 2 * * *",
    "5/15 1-3 * * *", "*/59 * * * *", "0 */23 * * *", "0 0 13 * 5#2", "0 0 15 * L5", "0 0 */31 * *",
)  # fmt: skip


def expressions(number: int, seed: int = 1) -> list[str]:
    """The curated ones and others made by chance, of every form, most around the night's hours."""
    chance = random.Random(seed)
    found = dict.fromkeys(CURATED)
    while len(found) < number:
        found[_random(chance)] = None
    return list(found)[:number]


def _random(chance: random.Random) -> str:
    def span(low: int, high: int) -> str:
        first, last = sorted((chance.randint(low, high), chance.randint(low, high)))
        step = chance.choice(("", "", f"/{chance.randint(1, 9)}"))
        return f"{first}-{last}{step}"

    def several(low: int, high: int) -> str:
        return ",".join(str(chance.randint(low, high)) for _ in range(chance.randint(1, 4)))

    def field(low: int, high: int, stars: int = 1) -> str:
        forms = ["*"] * stars + [f"*/{chance.randint(2, high)}", span(low, high)]
        return chance.choice([*forms, *[several(low, high)] * 2])

    minute = chance.choice((field(0, 59), str(chance.choice((0, 15, 30, 45, 59)))))
    hour = chance.choice((field(0, 23), several(0, 4), span(0, 4), "*", "2", "1"))
    day = chance.choice(("*", "*", field(1, 28), "l", "29", "30,31"))
    month = chance.choice(("*", "*", field(1, 12), "mar", "oct-nov", "apr,sep"))
    weekday = chance.choice(
        ("*", "*", "*", field(0, 6), chance.choice(_DAYS), "mon-fri", "7", "5-7",
         f"{chance.randint(0, 6)}#{chance.randint(1, 5)}", f"l{chance.randint(0, 6)}")
    )  # fmt: skip
    return f"{minute} {hour} {day} {month} {weekday}"


def windows(
    cron: Cron, zone: ZoneInfo, chance: random.Random, number: int
) -> list[tuple[datetime.datetime, datetime.datetime]]:
    """Spans of time to look at: around changes of the clock, a leap day, a year's end.

    The rarer the ticks the longer they are.
    """
    year = chance.randint(2024, 2032)
    middles = chance.sample(changes(zone), min(number, len(changes(zone))))
    middles.append(datetime.datetime(year, 12, 31, 23, tzinfo=datetime.UTC))
    middles.append(datetime.datetime(chance.choice((2024, 2028, 2032)), 2, 29, tzinfo=datetime.UTC))
    width = 3 * HOUR if cron.a_day > 60 else 2 * DAY if cron.a_day > 3 else 45 * DAY
    return [(middle - width, middle + width) for middle in middles]
