//! The filter of a hold: the `where` of a policy, asked of a record in one version and of what is known beside it.
//!
//! It is written as the value of `where` (`{ field = "email", op = "eq", value = "…" }`), or as the document that a
//! policy would have (`[where]`, or `where = …`), with the `timezone` in which dates without an offset are days. Where it
//! names none, that is UTC: so a hold is recorded with the zone that was meant, see [`HoldFilter::recorded_in`].
//!
//! Or it asks whose a record is: `request = ["Q41"]` catches what bears an identifier by which that request names its
//! data subject. Who bears it, only the holder of the index key can tell.

use std::collections::BTreeSet;

use super::assess::Facts;
use super::check::filter::FilterCheck;
use super::error::{PolicyError, PolicyProblem};
use super::filter::{BoundSubject, Filter, Truth};
use super::syntax::{Reader, Table, Value};
use crate::id::RequestId;
use crate::record::{EntityRecord, Kind, Layout};
use crate::time::{Timestamp, Zone};

/// The longest text of a filter, in bytes: a list of a thousand addresses.
pub const FILTER_BYTES_MAX: usize = 64 * 1024;

/// What the text is called in its errors.
const NAME: &str = "filter";

/// A checked filter of a hold.
#[derive(Debug)]
pub struct HoldFilter {
    asks: Asks,
    /// The zone that it names.
    zone: Option<Zone>,
}

/// What a filter asks.
#[derive(Debug)]
enum Asks {
    /// What stands in a record, and beside it.
    What(Filter),
    /// Whether it bears an identifier of the data subject of one of these requests.
    Whose(Vec<RequestId>),
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
        let asks = if is_alone {
            alone = r.parse_value();
            alone.as_ref().and_then(|value| tree(&mut r, value, &kinds, &Zone::utc())).map(Asks::What)
        } else {
            document = r.parse();
            document.as_ref().and_then(|document| {
                let mut table = Table::of("the filter", 0..0, document.get_ref());
                if let Some(value) = table.get("request") {
                    let whose = requests(&mut r, value).map(Asks::Whose);
                    table.finish(&mut r, &[]);
                    return whose;
                }
                zone = table.get("timezone").and_then(|value| r.parsed::<Zone>("timezone", value));
                let value = table.require(&mut r, "where", ": write it as a policy has it, or its value alone: { … }");
                let days = zone.clone().unwrap_or_else(Zone::utc);
                let filter = value.and_then(|value| tree(&mut r, value, &kinds, &days));
                table.finish(&mut r, &[]);
                filter.map(Asks::What)
            })
        };
        match asks {
            Some(asks) if r.errors.is_empty() => Ok(Self { asks, zone }),
            _ => Err(r.errors),
        }
    }

    /// Returns the text that it was read from, with the zone in which its dates are days if it compares dates and names
    /// none: what a hold is about must not change with the configuration.
    #[must_use]
    pub fn recorded_in(&self, text: &str, zone: &Zone) -> String {
        let compares_dates = match &self.asks {
            Asks::What(filter) => filter.compares_dates(),
            Asks::Whose(_) => false,
        };
        if self.zone.is_some() || !compares_dates {
            return text.to_owned();
        }
        match text.trim() {
            value if value.starts_with('{') => format!("timezone = \"{zone}\"\nwhere = {value}\n"),
            _ => format!("timezone = \"{zone}\"\n{text}"),
        }
    }

    /// Says whether it asks for what changes while the record does not.
    #[must_use]
    pub fn looks_beside(&self) -> bool {
        match &self.asks {
            Asks::What(filter) => filter.looks_beside(),
            Asks::Whose(_) => false,
        }
    }

    /// Says whether it asks whose a record is.
    #[must_use]
    pub fn is_of_requests(&self) -> bool {
        matches!(self.asks, Asks::Whose(_))
    }

    /// Returns the requests of whose data subjects it asks; none where it asks what stands in a record.
    #[must_use]
    pub fn requests(&self) -> &[RequestId] {
        match &self.asks {
            Asks::What(_) => &[],
            Asks::Whose(requests) => requests,
        }
    }

    /// Resolves its fields to the columns of a layout.
    #[must_use]
    pub fn bind<'a>(&'a self, layout: &'a Layout) -> BoundHoldFilter<'a> {
        let mut subjects = Vec::new();
        if let Asks::What(filter) = &self.asks {
            filter.for_each_leaf(&mut |leaf| subjects.push(leaf.subject.bind(&leaf.field, layout)));
        }
        let zone = self.zone.clone().unwrap_or_else(Zone::utc);
        BoundHoldFilter { asks: &self.asks, layout, subjects, zone }
    }
}

fn tree<'t>(r: &mut Reader<'t>, value: &'t Value<'t>, kinds: &BTreeSet<Kind>, zone: &Zone) -> Option<Filter> {
    FilterCheck { kinds, zone, leaves: 0 }.tree(r, value, 0)
}

/// The most requests that one filter names.
const REQUESTS_MAX: usize = 100;

fn requests<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<Vec<RequestId>> {
    let names = r.texts("request", value)?;
    let requests: Option<Vec<RequestId>> = names.iter().map(|(name, _)| name.parse().ok()).collect();
    let requests = requests.filter(|requests| (1..=REQUESTS_MAX).contains(&requests.len()));
    if requests.is_none() {
        r.bad_value(&value.span(), "request", format!("must name 1 to {REQUESTS_MAX} requests, such as [\"Q41\"]"));
    }
    requests
}

/// What is known of an entity beside its record, whatever its version.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// When the daemon first saw it.
    pub first_seen: Timestamp,
    /// The latest linked activity, post or task.
    pub last_activity: Option<Timestamp>,
    /// How many linked deals are open.
    pub open_deals: u32,
}

/// A filter of a hold for one layout.
pub struct BoundHoldFilter<'a> {
    asks: &'a Asks,
    layout: &'a Layout,
    subjects: Vec<BoundSubject>,
    zone: Zone,
}

impl BoundHoldFilter<'_> {
    /// Judges a record of the layout. What is unreadable is held. `bears` says whether it bears an identifier of the data
    /// subject of one of some requests.
    #[must_use]
    pub fn judge(&self, record: &EntityRecord, beside: &Beside, bears: impl FnOnce(&[RequestId]) -> bool) -> Truth<'_> {
        let filter = match self.asks {
            Asks::What(filter) => filter,
            Asks::Whose(requests) => return bears(requests).into(),
        };
        let Beside { first_seen, last_activity, open_deals } = *beside;
        // A hold counts every activity: it has no list of classes.
        let facts = Facts { layout: self.layout, record, first_seen, last_activity, activities: &[], open_deals };
        filter.judge(&self.subjects, &facts, &self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::hold::filter_of_requests;
    use crate::id::{LayoutId, Position};
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
        let seen = Beside { first_seen, last_activity: None, open_deals: 0 };
        let truth = |text: &str| check(text).bind(&layout).judge(&record, &seen, |_| false) == Truth::Yes;
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

    #[test]
    fn one_that_asks_whose_a_record_is_names_requests_and_nothing_else() {
        let contact = &[Kind::Contact];
        let requests = [41, 52].map(|position| RequestId(Position(position)));
        let text = filter_of_requests(&requests);
        let filter = HoldFilter::check(&text, contact).unwrap();
        assert!(filter.is_of_requests() && !filter.looks_beside());
        assert_eq!(filter.requests(), requests);
        assert_eq!(filter.recorded_in(&text, &"Europe/Paris".parse().unwrap()), text);
        let (layout, record) = (layout("Name", "display_name", FieldType::Text), record("Ada"));
        let beside = Beside { first_seen: Timestamp(0), last_activity: None, open_deals: 0 };
        for (bears, expected) in [(true, Truth::Yes), (false, Truth::No)] {
            let asked = |asked: &[RequestId]| bears && *asked == requests;
            assert_eq!(filter.bind(&layout).judge(&record, &beside, asked), expected);
        }
        for wrong in
            ["request = []", "request = [\"H4\"]", "request = [\"Q4\"]\nwhere = { field = \"id\", op = \"exists\" }"]
        {
            assert!(!problems(wrong, contact).is_empty(), "{wrong}");
        }
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
        assert!(!filter.looks_beside());
        let bound = filter.bind(&layout);
        let beside = Beside { first_seen: Timestamp(0), last_activity: None, open_deals: 0 };
        assert_eq!(bound.judge(&record("Ada"), &beside, |_| false), Truth::Yes);
        assert_eq!(bound.judge(&record("Bram"), &beside, |_| true), Truth::Unreadable("email1"));
        // What is known beside a record needs no column.
        for (text, expected) in [
            ("{ field = \"open_deals\", op = \"gt\", value = 1 }", Truth::Yes),
            ("{ field = \"open_deals\", op = \"eq\", value = 0 }", Truth::No),
            ("{ field = \"last_activity\", op = \"after\", value = 2024-01-01 }", Truth::Yes),
            ("{ field = \"last_activity\", op = \"absent\" }", Truth::No),
        ] {
            let filter = HoldFilter::check(text, &[Kind::Contact]).unwrap();
            assert!(filter.looks_beside(), "{text}");
            let last_activity = Some("2024-06-01T00:00:00Z".parse().unwrap());
            let active = Beside { last_activity, open_deals: 2, ..beside };
            assert_eq!(filter.bind(&layout).judge(&record("Ada"), &active, |_| false), expected, "{text}");
        }
        assert!(!format!("{filter:?}").contains("ada@"));
    }
}
