//! The filter of a hold: the `where` of a policy, asked of a record in one version and of nothing beside it.
//!
//! It is written as the value of `where` (`{ field = "email", op = "eq", value = "…" }`), or as the document that a
//! policy would have (`[where]`, or `where = …`), with the `timezone` in which dates without an offset are days. Where it
//! names none, that is UTC: so a hold is recorded with the zone that was meant, see [`HoldFilter::recorded_in`].

use std::collections::BTreeSet;

use super::assess::Facts;
use super::check::filter::{Asks, FilterCheck};
use super::error::{PolicyError, PolicyProblem};
use super::filter::{BoundSubject, Filter, Truth};
use super::syntax::{Reader, Table, Value};
use crate::record::{EntityRecord, Kind, Layout};
use crate::time::{Timestamp, Zone};

/// The longest text of a filter, in bytes: a list of a thousand addresses.
pub const FILTER_BYTES_MAX: usize = 64 * 1024;

/// What the text is called in its errors.
const NAME: &str = "filter";

/// A checked filter of a hold.
#[derive(Debug)]
pub struct HoldFilter {
    filter: Filter,
    /// The zone that it names.
    zone: Option<Zone>,
}

impl HoldFilter {
    /// Checks a text against the fields of the kinds that the hold is about.
    ///
    /// # Errors
    /// Returns every problem with its place; of a value alone, counted from its first character. They name keys, fields
    /// and operators, and never what is compared with.
    pub fn check(text: &str, kinds: &[Kind]) -> Result<Self, Vec<PolicyError>> {
        let is_alone = text.trim_start().starts_with('{');
        // A value ends with its last character, and what a file has around it is no part of it.
        let text = if is_alone { text.trim() } else { text };
        let mut r = Reader::named(NAME.to_owned(), text);
        if text.len() > FILTER_BYTES_MAX {
            let max = format!("{FILTER_BYTES_MAX} bytes");
            r.error(&(0..0), PolicyProblem::TooLarge { what: "the filter", max });
            return Err(r.errors);
        }
        let kinds: BTreeSet<Kind> = kinds.iter().copied().collect();
        if kinds.is_empty() {
            let (table, why) = ("what the hold is about".to_owned(), ": which fields there are depends on it");
            r.error(&(0..0), PolicyProblem::Missing { key: "kind", table, why });
            return Err(r.errors);
        }
        let (alone, document);
        let mut zone = None;
        let filter = if is_alone {
            alone = r.parse_value();
            alone.as_ref().and_then(|value| tree(&mut r, value, &kinds, &Zone::utc()))
        } else {
            document = r.parse();
            document.as_ref().and_then(|document| {
                let mut table = Table::of("the filter", 0..0, document.get_ref());
                zone = table.get("timezone").and_then(|value| r.parsed::<Zone>("timezone", value));
                let value = table.require(&mut r, "where", ": write it as a policy has it, or its value alone: { … }");
                let days = zone.clone().unwrap_or_else(Zone::utc);
                let filter = value.and_then(|value| tree(&mut r, value, &kinds, &days));
                table.finish(&mut r, &[]);
                filter
            })
        };
        match filter {
            Some(filter) if r.errors.is_empty() => Ok(Self { filter, zone }),
            _ => Err(r.errors),
        }
    }

    /// Returns the text that it was read from, with the zone in which its dates are days if it compares dates and names
    /// none: what a hold is about must not change with the configuration.
    #[must_use]
    pub fn recorded_in(&self, text: &str, zone: &Zone) -> String {
        if self.zone.is_some() || !self.filter.compares_dates() {
            return text.to_owned();
        }
        match text.trim() {
            value if value.starts_with('{') => format!("timezone = \"{zone}\"\nwhere = {value}\n"),
            _ => format!("timezone = \"{zone}\"\n{text}"),
        }
    }

    /// Resolves its fields to the columns of a layout.
    #[must_use]
    pub fn bind<'a>(&'a self, layout: &'a Layout) -> BoundHoldFilter<'a> {
        let mut subjects = Vec::new();
        self.filter.for_each_leaf(&mut |leaf| subjects.push(leaf.subject.bind(&leaf.field, layout)));
        let zone = self.zone.clone().unwrap_or_else(Zone::utc);
        BoundHoldFilter { filter: &self.filter, layout, subjects, zone }
    }
}

fn tree<'t>(r: &mut Reader<'t>, value: &'t Value<'t>, kinds: &BTreeSet<Kind>, zone: &Zone) -> Option<Filter> {
    FilterCheck { kinds, zone, asks: Asks::Record, leaves: 0 }.tree(r, value, 0)
}

/// A filter of a hold for one layout.
pub struct BoundHoldFilter<'a> {
    filter: &'a Filter,
    layout: &'a Layout,
    subjects: Vec<BoundSubject>,
    zone: Zone,
}

impl BoundHoldFilter<'_> {
    /// Judges a record of the layout. What is unreadable is held.
    #[must_use]
    pub fn judge(&self, record: &EntityRecord, first_seen: Timestamp) -> Truth<'_> {
        let facts =
            Facts { layout: self.layout, record, first_seen, last_activity: None, activities: &[], open_deals: 0 };
        self.filter.judge(&self.subjects, &facts, &self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::LayoutId;
    use crate::record::{Column, FieldType, Visibility};

    /// A layout of one column.
    fn layout(name: &str, field: &str, field_type: FieldType) -> Layout {
        let column = Column { name: name.into(), field: field.into(), field_type };
        Layout { source: "crm".into(), kind: Kind::Contact, columns: vec![column], named_dates: Vec::new() }
    }

    fn record(cell: &str) -> EntityRecord {
        EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: "1".into(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: std::iter::once(Some(cell)).collect(),
        }
    }

    fn problems(text: &str, kinds: &[Kind]) -> Vec<String> {
        HoldFilter::check(text, kinds).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn it_is_read_alone_and_as_a_policy_has_it() {
        for text in [
            "{ field = \"email1\", op = \"eq\", value = \"ada@example.org\" }",
            "\n  { all = [\n { field = \"created\", op = \"before\", value = \"2020-01-01\" },\n ] }\n",
            "where = { not = { field = \"job_title\", op = \"exists\" } }",
            "[where]\nfield = \"first_seen\"\nop = \"after\"\nvalue = 2020-01-01\n",
        ] {
            assert!(HoldFilter::check(text, &[Kind::Contact]).is_ok(), "{text}");
        }
    }

    #[test]
    fn its_problems_are_those_of_a_policy_with_their_places_and_without_the_values() {
        let contact = &[Kind::Contact];
        let leaf = |field: &str, op: &str| format!("{{ field = \"{field}\", op = \"{op}\", value = \"Jana\" }}");
        assert_eq!(
            problems(&leaf("emial1", "eq"), contact),
            ["filter:1:11: unknown field `emial1` for contact: did you mean `email1`?"]
        );
        assert_eq!(problems("where = {}", contact).len(), 2);
        assert_eq!(
            problems("[were]\n", contact),
            [
                "filter:1:1: `where` is missing in the filter: write it as a policy has it, or its value alone: { … }",
                "filter:1:2: unknown key `were` in the filter: did you mean `where`?"
            ]
        );
        assert!(problems(&leaf("email1", "eq"), &[])[0].contains("`kind` is missing"));
        assert!(problems(&" ".repeat(FILTER_BYTES_MAX + 1), contact)[0].contains("too large"));
        for field in ["last_activity", "open_deals"] {
            assert!(problems(&leaf(field, "eq"), contact)[0].contains("while the record does not"), "{field}");
        }
        for text in [leaf("email1", "before"), "{ Jana".to_owned(), format!("{} Jana", leaf("email1", "eq"))] {
            let problems = problems(&text, contact);
            assert!(!problems.is_empty() && problems.iter().all(|it| !it.contains("Jana")), "{problems:?}");
        }
    }

    #[test]
    fn its_days_are_those_of_its_zone_and_it_is_recorded_with_one() {
        let layout = layout("Won", "custom.won", FieldType::Date);
        let record = record("2020-01-01");
        let check = |text: &str| HoldFilter::check(text, &[Kind::Contact]).unwrap();
        // A day without a time in a cell, and one in the filter: in each zone both are its own.
        let first_seen: Timestamp = "2019-12-31T23:30:00Z".parse().unwrap();
        let seen_after = "{ field = \"first_seen\", op = \"after\", value = 2020-01-01 }";
        let truth = |text: &str| check(text).bind(&layout).judge(&record, first_seen) == Truth::Yes;
        let (paris, utc): (Zone, Zone) = ("Europe/Paris".parse().unwrap(), Zone::utc());
        let table = "# note\n[where]\nfield = \"first_seen\"\nop = \"after\"\nvalue = 2020-01-01\n";
        for text in [seen_after.to_owned(), format!("where = {seen_after}"), table.to_owned()] {
            let (in_paris, in_utc) = (check(&text).recorded_in(&text, &paris), check(&text).recorded_in(&text, &utc));
            assert!(!truth(&text) && !truth(&in_utc), "{text}");
            assert!(truth(&in_paris), "{in_paris}");
            // What names its zone is recorded as it is, whatever the zone of today is.
            assert_eq!(check(&in_paris).recorded_in(&in_paris, &utc), in_paris);
        }
        let (text, zone) = ("{ field = \"custom.won\", op = \"before\", value = \"2019-12-31T23:30:00Z\" }", &paris);
        assert!(!truth(text) && truth(&check(text).recorded_in(text, zone)));
        let without = "{ field = \"email1\", op = \"eq\", value = \"ada@example.org\" }";
        assert_eq!(check(without).recorded_in(without, &paris), without, "no dates, no zone");
        let wrong = format!("timezone = \"Europe/Pari\"\nwhere = {without}");
        let problem = "filter:1:12: `timezone` is not a time zone";
        assert!(problems(&wrong, &[Kind::Contact])[0].contains(problem), "{wrong}");
    }

    proptest! {
        #[test]
        fn any_text_and_any_damaged_filter_is_read_or_refused_at_a_place_in_it(
            any in ".{0,80}", at in any::<prop::sample::Index>(), put in ".{0,3}",
        ) {
            let filter = "{ any = [{ field = \"email1\", op = \"in\", value = [\"a\"] }, { field = \"id\", op = \"exists\" }] }";
            let damaged = format!("{}{put}{}", &filter[..at.index(filter.len())], &filter[at.index(filter.len()) + 1..]);
            for text in [any, damaged] {
                for problem in HoldFilter::check(&text, &[Kind::Contact]).err().into_iter().flatten() {
                    prop_assert!((1..=text.split('\n').count()).contains(&(problem.line as usize)), "{problem} in {text:?}");
                }
            }
        }
    }

    #[test]
    fn a_field_that_a_source_does_not_tell_leaves_it_unreadable() {
        let layout = layout("Name", "display_name", FieldType::Text);
        let text = "{ any = [{ field = \"display_name\", op = \"eq\", value = \"Ada\" },
            { field = \"email1\", op = \"eq\", value = \"ada@example.org\" }] }";
        let filter = HoldFilter::check(text, &[Kind::Contact]).unwrap();
        let bound = filter.bind(&layout);
        assert_eq!(bound.judge(&record("Ada"), Timestamp(0)), Truth::Yes);
        assert_eq!(bound.judge(&record("Bram"), Timestamp(0)), Truth::Unreadable("email1"));
        assert!(!format!("{filter:?}").contains("ada@"));
    }
}
