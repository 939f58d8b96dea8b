"""Schedules against independent calendars: cronsim (Debian's cron) and isodate, over years and time zones.

One process of the product tells the runs of one schedule; each run is a decision that is compared.
"""

import calendar
import datetime
import itertools
import random
import zoneinfo

import isodate
import pytest
from cronsim import CronSim
from harness import programs

UTC = datetime.timezone.utc
# Zones whose clocks change north and south, at night and at midnight, and one that never does. cronsim steps by whole hours, so
# half an hour (Lord Howe) is compared for durations alone.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Santiago", "Asia/Shanghai"]
DAYS_OF_WEEK = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
COUNTED = {"decisions": 0, "mismatches": 0}


def told(schedule, zone, start, count):
    """The next `count` runs after `start` as UNIX seconds, as the product tells them."""
    command = [programs.binary(), "schedule", schedule, "--timezone", zone, "--from", start, "--count", count]
    lines = programs.run([*command, "--seconds"]).stdout.split()
    COUNTED["decisions"] += len(lines)
    return [int(line) for line in lines]


def compare(found, expected, what):
    """Each decision with the independent one."""
    COUNTED["mismatches"] += sum(mine != theirs for mine, theirs in itertools.zip_longest(found, expected))
    assert found == expected, what


def distinct(times):
    """In order, each once: cronsim gives times of a gap that fall together more than once."""
    last = None
    for time in times:
        if time != last:
            yield time
        last = time


def cronsim_runs(expression, zone, start, count):
    """The same from cronsim, whose five fields have minutes first and Sunday as 0."""
    place = zoneinfo.ZoneInfo(zone)
    simulated = CronSim(expression, datetime.datetime.fromtimestamp(start, place))
    runs = distinct(int(run.timestamp()) for run in simulated)
    return [run for run, _ in zip(runs, range(count))]


def fields(generator):
    """One random expression of five fields in the dialect of cronsim, and of six as Quartz has it."""
    minute = generator.choice(["0", "30", "*/15", "5,35", "10-50/20", "59"])
    hour = generator.choice(["2", "0", "1,2,3", "*", "*/6", "22-23", "1-3", "12"])
    month = generator.choice(["*", "1-6", "2", "JAN,JUL", "*/3", "3,10", "10-11"])
    if generator.random() < 0.5:
        day = generator.choice(["*", "1", "15", "28-30", "L", "LW", "*/5", "1,L", "31"])
        if month == "2" and day == "31":
            day = "28"
        return f"{minute} {hour} {day} {month} *", f"0 {minute} {hour} {day} {month} ?"
    numbers = sorted(generator.sample(range(7), generator.randint(1, 4)))
    kind = generator.choice(["list", "name", "last", "nth"])
    if kind == "list":
        ours, theirs = ",".join(str(day + 1) for day in numbers), ",".join(str(day) for day in numbers)
    elif kind == "name":
        ours = theirs = ",".join(DAYS_OF_WEEK[day] for day in numbers)
    elif kind == "last":
        ours, theirs = f"{numbers[0] + 1}L", f"{numbers[0]}L"
    else:
        nth = generator.randint(1, 5)
        ours, theirs = f"{numbers[0] + 1}#{nth}", f"{numbers[0]}#{nth}"
    return f"{minute} {hour} * {month} {theirs}", f"0 {minute} {hour} ? {month} {ours}"


@pytest.mark.parametrize("zone", ZONES)
def test_cron_expressions(zone):
    generator = random.Random(f"calendar of {zone}")
    for _ in range(20):
        theirs, ours = fields(generator)
        start = int(datetime.datetime(generator.randint(2015, 2030), generator.randint(1, 12), 1, tzinfo=UTC).timestamp())
        expected = cronsim_runs(theirs, zone, start, 600)
        compare(told(f"C|0|{ours}", zone, start, len(expected)), expected, (zone, ours, start))


def test_cron_with_seconds():
    generator = random.Random("seconds")
    for _ in range(12):
        second = generator.choice(["0", "30", "*/20", "7,45", "10-12"])
        theirs, ours = fields(generator)
        start = generator.randint(1_500_000_000, 1_900_000_000)
        expected = [
            int(run.timestamp())
            for run, _ in zip(CronSim(f"{second} {theirs}", datetime.datetime.fromtimestamp(start, UTC)), range(500))
        ]
        compare(told(f"C|0|{second}{ours[1:]}", "UTC", start, 500), expected, (second, ours, start))


def nearest_working(year, month, wanted):
    """The working day nearest to a day of the month, never in another month: `15W`."""
    last = calendar.monthrange(year, month)[1]
    if wanted > last:
        return None
    return min(
        (day for day in range(1, last + 1) if datetime.date(year, month, day).weekday() < 5),
        key=lambda day: (abs(day - wanted), day),
    )


def test_the_nearest_working_day_and_days_before_the_last():
    start = int(datetime.datetime(2020, 1, 1, tzinfo=UTC).timestamp()) - 1
    for wanted in (1, 2, 15, 28, 30, 31):
        months = [(year, month) for year in range(2020, 2030) for month in range(1, 13)]
        days = [(year, month, nearest_working(year, month, wanted)) for year, month in months]
        expected = [calendar.timegm((year, month, day, 4, 5, 6)) for year, month, day in days if day]
        compare(told(f"C|0|6 5 4 {wanted}W * ?", "UTC", start, len(expected)), expected, wanted)
    for before in (1, 3, 27):
        months = [(year, month) for year in range(2020, 2030) for month in range(1, 13)]
        expected = [
            calendar.timegm((year, month, calendar.monthrange(year, month)[1] - before, 4, 5, 6)) for year, month in months
        ]
        compare(told(f"C|0|6 5 4 L-{before} * ?", "UTC", start, len(expected)), expected, before)


def isodate_runs(start, duration, zone, count):
    """Run k is the start plus k durations: calendar units by the wall clock, clamped to short months, hours exact."""
    place = zoneinfo.ZoneInfo(zone)
    wall = datetime.datetime.fromtimestamp(start, place).replace(tzinfo=None)
    parsed = isodate.parse_duration(duration, as_timedelta_if_possible=False)
    months = int(parsed.years) * 12 + int(parsed.months)
    exact = datetime.timedelta(seconds=parsed.tdelta.seconds)
    days = datetime.timedelta(days=parsed.tdelta.days)
    if duration.startswith("PT"):
        days, exact = datetime.timedelta(), parsed.tdelta
    runs = []
    for k in range(count):
        moved = isodate.Duration(months=months * k) + wall if months else wall
        moved = (moved + days * k).replace(tzinfo=place, fold=0)
        runs.append(int(moved.timestamp() + (exact * k).total_seconds()))
    return runs


@pytest.mark.parametrize("zone", [*ZONES, "Australia/Lord_Howe"])
def test_durations(zone):
    generator = random.Random(f"durations of {zone}")
    for duration in ("PT1H", "PT24H", "P1D", "P2D", "P1W", "P1M", "P3M", "P1Y", "P1M1D", "PT90M", "P1DT6H"):
        start = generator.randint(1_300_000_000, 1_800_000_000)
        expected = isodate_runs(start, duration, zone, 300)
        found = told(f"I|{start}|{duration}", zone, start - 1, 300)
        compare(found, expected, (zone, duration, start))


def test_how_many_decisions_were_compared(capsys):
    """The last test of the file: the figure for the record."""
    with capsys.disabled():
        print(f"\nschedule decisions compared: {COUNTED['decisions']}, mismatches: {COUNTED['mismatches']}")
    assert COUNTED["decisions"] > 0 and COUNTED["mismatches"] == 0
