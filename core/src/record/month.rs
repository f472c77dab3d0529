//! A month of the log, as an entity: so that policies, plans, holds and runs deal with it as with any other.
//!
//! Its key seals what people write in that month, and nothing else of it is worth keeping: the record says only which
//! month it is. Months are those of UTC.

use super::field::standard;
use super::{Cells, Column, DateRole, EntityRecord, Kind, Layout, Visibility};
use crate::id::LayoutId;
use crate::time::{Timestamp, Zone};

/// The source of all months: the daemon itself.
pub const SOURCE: &str = "retentiond";

/// One calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    /// Its first instant.
    pub begins_at: Timestamp,
    /// The first instant of the next.
    pub ends_at: Timestamp,
}

impl Month {
    /// Returns the month in which an instant lies; `None` at the end of the calendar.
    #[must_use]
    pub fn of(at: Timestamp) -> Option<Self> {
        let zone = Zone::utc();
        let first = zone.civil(at).date().first_of_month();
        let next = first.checked_add(jiff::Span::new().months(1)).ok()?;
        Some(Self { begins_at: zone.day_start(first), ends_at: zone.day_start(next) })
    }

    /// Returns its name: `2026-11`.
    #[must_use]
    pub fn name(self) -> String {
        Zone::utc().civil(self.begins_at).strftime("%Y-%m").to_string()
    }

    /// Returns its record.
    #[must_use]
    pub fn record(self, layout: LayoutId) -> EntityRecord {
        // The last instant: the day of the start is the last of the month, and not the first of the next.
        let closed = Timestamp(self.ends_at.0 - 1);
        let name = self.name();
        EntityRecord {
            layout,
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: name.clone(),
            other_ids: Vec::new(),
            dates: vec![(DateRole::Closed, closed)],
            links: Vec::new(),
            cells: [Some(name.as_str()), Some(closed.to_string().as_str())].into_iter().collect::<Cells>(),
        }
    }
}

/// Returns the layout of all months.
#[must_use]
pub fn layout() -> Layout {
    let column = |field: &super::field::Field| Column {
        name: field.ocm_column.to_owned(),
        field: field.name.to_owned(),
        field_type: field.field_type,
    };
    Layout {
        source: SOURCE.to_owned(),
        kind: Kind::AuditMonth,
        columns: standard(Kind::AuditMonth).iter().map(column).collect(),
        named_dates: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        Month::of(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_month_is_that_of_utc_from_its_first_instant_to_its_last() {
        let february = month("2028-02-29T23:59:59.999999Z");
        assert_eq!(february, month("2028-02-01T00:00:00Z"));
        assert_eq!(february.name(), "2028-02");
        assert_eq!(february.ends_at, "2028-03-01".parse().unwrap());
        assert_eq!(month("2026-12-31T23:00:00-02:00").name(), "2027-01");
        assert_eq!(Month::of(Timestamp::NEVER), None);
    }

    #[test]
    fn its_record_says_which_month_it_is_and_when_it_was_over() {
        let (record, layout) = (month("2026-11-27").record(LayoutId(4)), layout());
        assert_eq!(record.date(DateRole::Closed), Some("2026-11-30T23:59:59.999999Z".parse().unwrap()));
        assert_eq!(record.cells.len(), layout.columns.len());
        let cell = |field| layout.column_of(field).and_then(|column| record.cells.get(column));
        assert_eq!((cell("month"), cell("closed")), (Some("2026-11"), Some("2026-11-30T23:59:59.999999Z")));
    }
}
