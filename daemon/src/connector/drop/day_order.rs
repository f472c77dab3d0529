//! Whether the dates of a text have the day and the month in the order that a mapping names.
//!
//! `04/05/2025` is a day either way. So where another program, or another machine, wrote a file this time, most of its dates
//! would still be read, as others than stand there, and records would become due months too early.

use retention_core::table::Fields;
use retention_core::time::iso;

use super::date::{DateFormat, parse_pattern};
use super::mapping::{DateRule, Mapping};
use crate::connector::rejection::FileError;

/// Rows that are looked at before any is taken: enough that dates with one reading only are among them, and read in no time.
pub(super) const ROWS_LOOKED_MAX: usize = 100_000;

/// The bytes of rows at which no more are looked at: a stop waits for that.
pub(super) const BYTES_LOOKED_MAX: usize = 64 << 20;

/// From so many dates on it is hardly by chance that all of them are of the first twelve days of a month.
const DAYS_TELLING: u64 = 8;

/// The last day of a month that can be a month.
const LAST_MONTH: i8 = 12;

/// The dates of one column.
pub(super) struct DayOrder<'m> {
    column: usize,
    named: &'m str,
    turned: String,
    /// Cells that can be read as the mapping says, and not the other way round.
    fitting: u64,
    /// Cells that can be read the other way round only.
    turned_only: u64,
    /// Texts that can be read both ways.
    either_way: u64,
    /// Typed dates whose day can be a month.
    typed_early: u64,
    /// Typed dates of another day.
    typed_late: u64,
}

impl<'m> DayOrder<'m> {
    /// Looks at the dates of a rule, if the other order is a format too.
    pub(super) fn of(rule: &'m DateRule, column: usize) -> Option<Self> {
        let DateFormat::Pattern(named) = &rule.format else { return None };
        let turned = turned(named)?;
        Some(Self { column, named, turned, fitting: 0, turned_only: 0, either_way: 0, typed_early: 0, typed_late: 0 })
    }

    /// Says whether a mapping names the order of any date.
    pub(super) fn is_asked(mapping: &Mapping) -> bool {
        mapping.dates.iter().any(|rule| DayOrder::of(rule, 0).is_some())
    }

    /// Takes note of a row.
    pub(super) fn look(&mut self, fields: &impl Fields) {
        let Some(cell) = fields.cell(self.column).filter(|cell| !cell.trim().is_empty()) else { return };
        if fields.is_typed(self.column) {
            if let Some(written) = iso::parse_iso(cell) {
                let is_early = written.date.day() <= LAST_MONTH;
                self.typed_early += u64::from(is_early);
                self.typed_late += u64::from(!is_early);
            }
            return;
        }
        let [fits, fits_turned] = [self.named, &self.turned].map(|pattern| parse_pattern(cell, pattern).is_some());
        self.fitting += u64::from(fits && !fits_turned);
        self.turned_only += u64::from(fits_turned && !fits);
        self.either_way += u64::from(fits && fits_turned);
    }

    /// Refuses what most of the dates with one reading contradict. A few of them were mistyped, and are told one by one.
    ///
    /// A spreadsheet that opens a text with the other order takes for a date, turned, what can be one, and leaves the others
    /// as texts: then no date has a day that cannot be a month, and no text one that can, but for a few that somebody wrote there
    /// since.
    pub(super) fn check(&self) -> Result<(), FileError> {
        let number = self.column + 1;
        if self.turned_only > self.fitting {
            return Err(FileError::DatesTurned { number, cells: self.turned_only });
        }
        let are_dates_early = self.typed_late == 0 && self.typed_early >= DAYS_TELLING;
        let are_texts_late = self.fitting >= DAYS_TELLING && self.either_way <= self.fitting / DAYS_TELLING;
        if are_dates_early && are_texts_late { Err(FileError::DatesTurnedBySpreadsheet { number }) } else { Ok(()) }
    }
}

/// Returns a pattern with day and month in each other's place, if it has both as numbers.
fn turned(pattern: &str) -> Option<String> {
    let (mut has_day, mut has_month, mut is_part) = (false, false, false);
    let turn = |c: char| {
        let was_part = is_part;
        is_part = if was_part { !c.is_ascii_alphabetic() && c != '%' } else { c == '%' };
        match c {
            'd' | 'e' if was_part => {
                has_day = true;
                'm'
            }
            'm' if was_part => {
                has_month = true;
                'd'
            }
            other => other,
        }
    };
    let turned: String = pattern.chars().map(turn).collect();
    (has_day && has_month).then_some(turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_and_month_change_places_where_both_are_numbers() {
        for (pattern, other) in [
            ("%d/%m/%Y", Some("%m/%d/%Y")),
            ("%-m/%e/%Y %H:%M", Some("%-d/%m/%Y %H:%M")),
            ("%Y%m%d", Some("%Y%d%m")),
            ("%d. %B %Y", None),
            ("%F", None),
            ("%% dm %d", None),
        ] {
            assert_eq!(turned(pattern).as_deref(), other, "{pattern}");
        }
    }
}
