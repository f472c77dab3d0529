//! What the filter of a hold catches, found without the program: from the TOML as it was written, by the text of the
//! documentation, over every version that the log tells of.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::apart::ERASED;
use retention_core::event::hold::StandingQuery;
use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{EntityId, HoldId, LayoutId, Position};
use retention_core::record::{EntityRecord, Layout};
use retention_core::time::Timestamp;
use toml::{Table, Value};

/// A filter as it was written. It knows the operators on text, which is all that the worlds of the tests ask.
struct Written(Value);

impl Written {
    fn of(text: &str) -> Self {
        let text = if text.trim_start().starts_with('{') { format!("where = {text}") } else { text.to_owned() };
        let document: Table = text.parse().expect("a filter");
        Self(document["where"].clone())
    }

    /// Says whether it matches; `None` if that cannot be told.
    fn judge(&self, layout: &Layout, record: &EntityRecord) -> Option<bool> {
        judge(&self.0, layout, record)
    }
}

fn judge(tree: &Value, layout: &Layout, record: &EntityRecord) -> Option<bool> {
    let parts = |key: &str| {
        let parts = tree.get(key)?.as_array().expect("a list of parts");
        Some(parts.iter().map(|part| judge(part, layout, record)).collect::<Vec<_>>())
    };
    // One part decides alone if it can; otherwise one that cannot be told leaves the whole untold.
    let joined = |parts: &[Option<bool>], decides: bool| match parts.contains(&Some(decides)) {
        true => Some(decides),
        false if parts.contains(&None) => None,
        false => Some(!decides),
    };
    if let Some(parts) = parts("all") {
        return joined(&parts, false);
    }
    if let Some(parts) = parts("any") {
        return joined(&parts, true);
    }
    match tree.get("not") {
        Some(part) => judge(part, layout, record).map(|it| !it),
        None => compare(tree, layout, record),
    }
}

fn compare(leaf: &Value, layout: &Layout, record: &EntityRecord) -> Option<bool> {
    let word = |key: &str| leaf.get(key).and_then(Value::as_str).expect("a word");
    let column = layout.columns.iter().position(|column| column.field == word("field"));
    let Some(column) = column else {
        // A field of the source's own that it does not have is absent; a standard one may be there all the same.
        let is_own = word("field").starts_with("custom.");
        return if is_own && word("op") == "exists" {
            Some(false)
        } else {
            (is_own && word("op") == "absent").then_some(true)
        };
    };
    let cell = record.cells.get(column).filter(|text| !text.trim().is_empty());
    let listed = |text: &str| {
        let list = leaf["value"].as_array().expect("a list");
        list.iter().any(|value| value.as_str() == Some(text))
    };
    let holds = match word("op") {
        "exists" => cell.is_some(),
        "absent" => cell.is_none(),
        "eq" => cell.is_some_and(|text| text == word("value")),
        "ne" => cell.is_some_and(|text| text != word("value")),
        "in" => cell.is_some_and(listed),
        "not_in" => cell.is_some_and(|text| !listed(text)),
        "prefix" => cell.is_some_and(|text| text.starts_with(word("value"))),
        "suffix" => cell.is_some_and(|text| text.ends_with(word("value"))),
        "contains" => cell.is_some_and(|text| text.contains(word("value"))),
        op => panic!("nobody taught the tests what {op} means"),
    };
    Some(holds)
}

/// What was readable once and may not be any more.
#[derive(Default)]
pub struct Remembered {
    records: BTreeMap<Position, EntityRecord>,
    filters: BTreeMap<HoldId, String>,
}

/// What the standing queries of holds cover, as the log tells it.
#[derive(Default)]
pub struct Standings {
    remembered: Remembered,
    layouts: BTreeMap<LayoutId, Layout>,
    versions: BTreeMap<EntityId, Position>,
    first_seen: BTreeMap<EntityId, Timestamp>,
    holds: BTreeMap<HoldId, Standing>,
}

struct Standing {
    query: StandingQuery,
    filter: Option<Written>,
    caught: BTreeSet<EntityId>,
}

impl Standing {
    /// Catches an entity that it is about and whose version matches, or cannot be told.
    fn look(&mut self, entity: EntityId, layout: &Layout, record: &EntityRecord, first_seen: Timestamp) {
        let StandingQuery { kinds, sources, seen_from, seen_until } = &self.query;
        let is_about = (kinds.is_empty() || kinds.contains(&layout.kind))
            && (sources.is_empty() || sources.contains(&layout.source))
            && seen_from.is_none_or(|from| first_seen >= from)
            && seen_until.is_none_or(|until| first_seen < until);
        let matches = || self.filter.as_ref().is_none_or(|filter| filter.judge(layout, record) != Some(false));
        if is_about && matches() {
            self.caught.insert(entity);
        }
    }
}

impl Standings {
    /// Begins with what is remembered of an earlier reading of the same log.
    #[must_use]
    pub fn with(remembered: Remembered) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Gives back what was remembered, with what was read now.
    #[must_use]
    pub fn remembered(self) -> Remembered {
        self.remembered
    }

    /// Looks at the next event of the log.
    pub fn see(&mut self, recorded: &Recorded) {
        let position = recorded.envelope.position;
        if let (Some(Event::EntityChanged(body)), Some(_)) = (recorded.event(), recorded.envelope.entity) {
            self.remembered.records.entry(position).or_insert_with(|| body.record.clone());
        }
        if let Some(entity) = recorded.envelope.entity
            && recorded.envelope.event_type == EventType::EntityChanged as u16
        {
            self.versions.insert(entity, position);
            self.first_seen.entry(entity).or_insert(recorded.envelope.recorded_at);
            let all: Vec<HoldId> = self.holds.keys().copied().collect();
            all.into_iter().for_each(|hold| self.look(hold, entity, position));
        }
        match recorded.event() {
            Some(Event::LayoutRecorded(body)) => drop(self.layouts.insert(body.id, body.layout.clone())),
            Some(Event::HoldPlaced(body)) => {
                let Some(query) = body.standing.clone() else { return };
                let hold = HoldId(position);
                if body.filter != ERASED {
                    self.remembered.filters.entry(hold).or_insert_with(|| body.filter.clone());
                }
                let filter = self.remembered.filters.get(&hold).filter(|text| !text.is_empty());
                let filter = filter.map(|text| Written::of(text));
                self.holds.insert(hold, Standing { query, filter, caught: BTreeSet::new() });
                let found: Vec<(EntityId, Position)> = self.versions.iter().map(|(e, v)| (*e, *v)).collect();
                found.into_iter().for_each(|(entity, version)| self.look(hold, entity, version));
            }
            Some(Event::EntitySucceeded(body)) => {
                let caught = self.holds.values_mut().filter(|standing| standing.caught.contains(&body.of));
                caught.for_each(|standing| standing.caught.extend(recorded.envelope.entity));
            }
            _ => {}
        }
    }

    fn look(&mut self, hold: HoldId, entity: EntityId, version: Position) {
        // What was purged before anybody looked needs no hold.
        let Some(record) = self.remembered.records.get(&version) else { return };
        let first_seen = self.first_seen.get(&entity).copied().unwrap_or(Timestamp(0));
        if let (Some(standing), Some(layout)) = (self.holds.get_mut(&hold), self.layouts.get(&record.layout)) {
            standing.look(entity, layout, record, first_seen);
        }
    }

    /// Returns what a hold caught; nothing when it has no standing query.
    #[must_use]
    pub fn caught(&self, hold: HoldId) -> BTreeSet<EntityId> {
        self.holds.get(&hold).map(|standing| standing.caught.clone()).unwrap_or_default()
    }

    /// Says whether a hold caught an entity.
    #[must_use]
    pub fn has_caught(&self, hold: HoldId, entity: EntityId) -> bool {
        self.holds.get(&hold).is_some_and(|standing| standing.caught.contains(&entity))
    }
}
