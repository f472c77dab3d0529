"""Writes the golden tables of the time engine, with Python's own calendar and zones.

    python3 core/tests/time/make.py

Nothing of the program is used here. What these tables say was looked through by a person where a case is named after a
law or a place; the test compares them with the program and with a third library. A line that exists is never changed
because the program disagrees with it.
"""

import calendar
import re
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).parent
UTC = timezone.utc


def utc(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def text(at):
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exists(local, zone):
    """The instants at which a clock in the zone shows a time, the earlier first."""
    found = []
    for fold in (0, 1):
        at = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == local and at not in found:
            found.append(at)
    return sorted(found)


def gap_end(local, zone):
    """The first instant after a time that the clock skipped, found minute by minute on the clock of UTC."""
    at = local.replace(tzinfo=zone, fold=0).astimezone(UTC) - timedelta(hours=26)
    while at.astimezone(zone).replace(tzinfo=None) < local:
        at += timedelta(minutes=1)
    return at


def day_start(day, zone):
    """The end of the day before. Where a clock goes back over midnight, the day before comes back: then the later."""
    midnight = datetime.combine(day, time())
    found = exists(midnight, zone)
    if not found:
        return gap_end(midnight, zone)
    if len(found) == 2:
        just_before = (found[1] - timedelta(seconds=1)).astimezone(zone).date()
        return found[1] if just_before < day else found[0]
    return found[0]


def add_months(day, months):
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    month += 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def aligned(day, align):
    if align == "none":
        return None
    if align == "end_of_month":
        return add_months(day.replace(day=1), 1)
    if align == "end_of_year":
        return date(day.year + 1, 1, 1)
    month = int(align.removeprefix("end_of_fiscal_year:"))
    this = date(day.year, month, 1)
    return this if day < this else date(day.year + 1, month, 1)


def due(period, start, align, zone):
    zone = ZoneInfo(zone)
    local = start.astimezone(zone).date()
    first = aligned(local, align)
    units = {unit: int(n) for n, unit in re.findall(r"(\d+)([A-Z])", period.replace("PT", ""))}
    if period.startswith("PT"):
        length = timedelta(hours=units.get("H", 0), minutes=units.get("M", 0), seconds=units.get("S", 0))
        return (start if first is None else day_start(first, zone)) + length
    day = add_months(local if first is None else first, units.get("Y", 0) * 12 + units.get("M", 0))
    day += timedelta(days=units.get("W", 0) * 7 + units.get("D", 0))
    return day_start(day if first else day + timedelta(days=1), zone)


MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "mon tue wed thu fri sat sun".split()


def values(field, low, high, names=()):
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        number = lambda word: names.index(word) + low if word in names else int(word)
        first, last = (low, high) if span == "*" else [number(w) for w in (span.split("-") * 2)[:2]]
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def firings(cron, zone, after, count, until=None):
    zone = ZoneInfo(zone)
    minute, hour, day, month, weekday = cron.split()
    minutes, hours = values(minute, 0, 59), values(hour, 0, 23)
    days, months = values(day, 1, 31), values(month, 1, 12, MONTHS)
    weekdays = {d for d in range(7) if weekday == "*" or any(
        d in span for span in [[DAYS.index(w)] if "-" not in w else range(DAYS.index(w.split("-")[0]), DAYS.index(w.split("-")[1]) + 1) for w in weekday.split(",")])}
    found = set()
    today = after.astimezone(zone).date() - timedelta(days=2)
    enough = None
    while enough is None or today <= enough:
        if today.month in months and today.day in days and today.weekday() in weekdays:
            for h in hours:
                for m in minutes:
                    local = datetime.combine(today, time(h, m))
                    at = (exists(local, zone) or [gap_end(local, zone)])[0]
                    if at > after and (until is None or at <= until):
                        found.add(at)
        if enough is None and (len(found) >= count or (until and today > until.astimezone(zone).date() + timedelta(days=2))):
            enough = today + timedelta(days=2)
        today += timedelta(days=1)
    return sorted(found)[:count]


PERIODS = []


def period_case(period, start, align, zone, why):
    PERIODS.append((period, start, align, zone, text(due(period, utc(start), align, zone)), why))


def periods():
    for year in (2023, 2024, 2025, 2028):
        for month in (1, 3, 5, 8, 10, 12):
            last = calendar.monthrange(year, month)[1]
            start = f"{year}-{month:02}-{last:02}T12:00:00Z"
            period_case("P1M", start, "none", "Etc/UTC", "month end and one month")
            period_case("P6M", start, "none", "Europe/Berlin", "month end and half a year")
    for months in range(1, 14):
        period_case(f"P{months}M", "2024-01-31T10:00:00Z", "none", "Europe/Paris", "the whole period is added once")
    for start in ("2024-02-29T12:00:00Z", "2024-02-28T12:00:00Z", "2023-02-28T12:00:00Z", "2000-02-29T23:59:59Z", "2096-02-29T00:00:00Z"):
        for years in (1, 2, 3, 4, 8, 10):
            period_case(f"P{years}Y", start, "none", "Etc/UTC", "leap days")
    changes = [
        ("Europe/Berlin", "2026-03-29", "2026-10-25"), ("America/New_York", "2026-03-08", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-10-04"), ("America/Sao_Paulo", "2018-11-04", "2019-02-17"),
        ("Africa/Cairo", "2024-04-26", "2024-10-31"), ("America/Havana", "2025-03-09", "2025-11-02"),
        ("Asia/Beirut", "2021-03-28", "2021-10-31"), ("Pacific/Auckland", "2026-04-05", "2026-09-27"),
        ("Europe/Lisbon", "2026-03-29", "2026-10-25"),
    ]
    for zone, *days in changes:
        for day in days:
            for before in (2, 1, 0):
                start = f"{date.fromisoformat(day) - timedelta(days=before)}T12:00:00Z"
                period_case("P1D", start, "none", zone, "around a day of 23 or 25 hours")
            period_case("PT24H", f"{day}T00:30:00Z", "none", zone, "exact hours know no days")
    for zone in ("Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Marquesas", "Asia/Tokyo", "America/St_Johns", "Europe/Bratislava", "Europe/Prague", "Etc/UTC"):
        for start in ("2025-12-31T23:30:00Z", "2026-06-30T09:15:00Z"):
            period_case("P1Y", start, "none", zone, "the local day counts")
            period_case("P90D", start, "none", zone, "the local day counts")
            period_case("P3Y", start, "end_of_year", zone, "the local year counts")
    for start in ("2025-03-04T09:00:00Z", "2025-12-31T22:59:59Z", "2025-12-31T23:00:00Z", "2026-01-01T00:00:00Z", "2024-02-29T09:00:00Z"):
        period_case("P8Y", start, "end_of_year", "Europe/Berlin", "vouchers, AO 147: the year must be over")
        period_case("P10Y", start, "end_of_year", "Europe/Vienna", "books")
        period_case("P6Y", start, "end_of_month", "Europe/Berlin", "the month must be over")
        period_case("P1M", start, "end_of_month", "Etc/UTC", "the month must be over")
        period_case("PT720H", start, "end_of_year", "Europe/Berlin", "exact hours after a year")
        for month in (4, 7, 10):
            period_case("P6Y", start, f"end_of_fiscal_year:{month}", "Europe/London", "a business year that ends otherwise")
    for start in ("2026-03-31T22:59:59Z", "2026-03-31T23:00:00Z", "2026-04-01T00:00:00Z"):
        period_case("P6Y", start, "end_of_fiscal_year:4", "Europe/London", "on the border of a business year")
    for period in ("PT24H", "PT48H", "PT36H", "PT720H", "PT90M"):
        period_case(period, "2026-03-28T12:00:00Z", "none", "Europe/Berlin", "exact over a change")
        period_case(period, "2026-10-24T12:00:00Z", "none", "Europe/Berlin", "exact over a change")
    period_case("P1D", "2011-12-28T20:00:00Z", "none", "Pacific/Apia", "a day that a zone skipped")
    period_case("P1W", "2011-12-24T20:00:00Z", "none", "Pacific/Apia", "a day that a zone skipped")


SCHEDULES = []


def schedule_case(cron, zone, after, why, count=3):
    found = firings(cron, zone, utc(after), count)
    SCHEDULES.append((cron, zone, after, ",".join(map(text, found)), why))


def schedules():
    for zone, gap, fold in (
        ("Europe/Berlin", "2026-03-29", "2026-10-25"), ("America/New_York", "2026-03-08", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-10-04", "2026-04-05"), ("America/Havana", "2025-03-09", "2025-11-02"),
        ("Pacific/Auckland", "2026-09-27", "2026-04-05"), ("Africa/Cairo", "2024-04-26", "2024-10-31"),
    ):
        for day, name in ((gap, "gap"), (fold, "fold")):
            after = f"{date.fromisoformat(day) - timedelta(days=1)}T06:00:00Z"
            for cron in ("30 2 * * *", "0 0 * * *", "15 1 * * *", "*/30 0-3 * * *", "45 23 * * *"):
                schedule_case(cron, zone, after, name, 4 if "/" not in cron else 14)
    for cron in ("0 5 15 jan *", "0 0 29 feb *", "0 0 31 * *", "30 3 * * sun", "0 6 * * mon-fri", "*/15 8-10/2 1,15 * *", "0 12 1 jan,jul *"):
        schedule_case(cron, "Europe/Prague", "2026-11-25T11:00:00Z", "calendar")
        schedule_case(cron, "Asia/Kathmandu", "2027-12-31T23:59:59Z", "calendar")


MISSED = []


def missed_case(cron, zone, last, now, why):
    found = firings(cron, zone, utc(last), 20_000, utc(now))
    MISSED.append((cron, zone, last, now, text(found[0]) if found else "-", text(found[-1]) if found else "-", str(len(found)), why))


def missed():
    daily = ("0 3 * * *", "Europe/Berlin")
    missed_case(*daily, "2026-03-27T02:00:00Z", "2026-03-27T12:00:00Z", "nothing was missed")
    missed_case(*daily, "2026-03-27T02:00:00Z", "2026-03-30T12:00:00Z", "three days away, over a gap")
    missed_case(*daily, "2026-10-23T01:00:00Z", "2026-10-27T12:00:00Z", "four days away, over a fold")
    missed_case(*daily, "2026-03-27T02:00:00Z", "2026-03-26T12:00:00Z", "the clock went back: nothing is due again")
    missed_case(*daily, "2026-03-27T02:00:00Z", "2027-03-27T12:00:00Z", "the clock jumped by a year")
    missed_case("30 2 * * *", "Europe/Berlin", "2026-03-28T01:30:00Z", "2026-03-29T00:59:59Z", "right before the gap")
    missed_case("30 2 * * *", "Europe/Berlin", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "right after the gap")
    missed_case("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "the second time of a fold is not a firing")
    missed_case("*/5 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "a repeated hour, every five minutes")
    missed_case("*/5 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z", "a skipped hour, every five minutes")
    missed_case("0 0 29 feb *", "Etc/UTC", "2024-02-29T00:00:00Z", "2027-12-31T00:00:00Z", "no leap day in between")
    missed_case("0 0 29 feb *", "Etc/UTC", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "the next leap day")
    missed_case("0 6 * * mon-fri", "America/New_York", "2026-03-06T11:00:00Z", "2026-03-09T10:00:00Z", "a weekend with a change")
    missed_case("45 23 31 dec *", "Pacific/Kiritimati", "2024-12-31T09:45:00Z", "2026-12-31T09:45:00Z", "two years")


def write(name, header, rows):
    lines = ["\t".join(header)] + ["\t".join(row) for row in rows]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(name, len(rows))


periods()
schedules()
missed()
write("periods.tsv", ("period", "start", "align", "zone", "due", "why"), dict.fromkeys(PERIODS))
write("schedules.tsv", ("cron", "zone", "after", "firings", "why"), SCHEDULES)
write("missed.tsv", ("cron", "zone", "last", "now", "first_missed", "last_missed", "count", "why"), MISSED)
