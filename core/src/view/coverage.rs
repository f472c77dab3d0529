//! Which entities no enforced policy is about, counted by source and kind.

use std::collections::{BTreeMap, BTreeSet};

use super::{EntityState, Row, Views};
use crate::id::EntityId;
use crate::record::Kind;

/// What was counted so far. Entities are counted in parts, so that nobody waits for the views while millions are
/// counted: what changes between two parts is counted as it was before or as it is after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(String, Kind), Covered>,
}

/// The entities of one kind from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// Those that can be seen or wait in quarantine.
    pub entities: u64,
    /// Those of them that an enforced policy is about.
    pub covered: u64,
    /// Those of the covered ones that no enforced policy ever makes due as they are: a start is missing, a suspension
    /// holds, or something cannot be read.
    pub never_due: u64,
    /// Those that are not covered and are still to be judged.
    pub waiting: u64,
    /// The enforced policies that are about some of them.
    pub policies: BTreeSet<String>,
}

impl Covered {
    /// Returns how many no enforced policy is about.
    #[must_use]
    pub fn uncovered(&self) -> u64 {
        self.entities - self.covered
    }
}

impl Coverage {
    /// Counts the numbers from `from` on, at most `max` of them, under the policies that are named: those that are
    /// enforced. Returns with which number it goes on, or `None` when all are counted.
    #[must_use]
    pub fn count(&mut self, views: &Views, enforced: &[String], from: u32, max: usize) -> Option<u32> {
        let pending = views.due.unjudged_policies();
        let is_pending = pending.iter().any(|policy| enforced.contains(&policy.id));
        let mut last = None;
        for entity in views.entities.numbers_from(from).take(max) {
            last = Some(entity);
            if let Some(row) = views.entities.row(entity).filter(|row| row.state != EntityState::Purged) {
                self.add(views, enforced, entity, &row, is_pending);
            }
        }
        last.and_then(|last| last.0.checked_add(1)).filter(|next| *next < views.entities.bound())
    }

    fn add(&mut self, views: &Views, enforced: &[String], entity: EntityId, row: &Row, is_pending: bool) {
        let Some(layout) = views.small.layouts.get(row.layout) else { return };
        if !Kind::under_policy().any(|kind| kind == layout.kind) {
            return;
        }
        let counted = self.counts.entry((layout.source.clone(), layout.kind)).or_default();
        counted.entities += 1;
        let (mut is_covered, mut is_dated) = (false, false);
        for id in enforced {
            let Some(column) = views.due.policy(id).filter(|column| column.is_about(entity)) else { continue };
            is_covered = true;
            is_dated |= column.has_day(entity);
            if !counted.policies.contains(id) {
                counted.policies.insert(id.clone());
            }
        }
        counted.covered += u64::from(is_covered);
        counted.never_due += u64::from(is_covered && !is_dated);
        counted.waiting += u64::from(!is_covered && (is_pending || views.due.unjudged().contains(entity.0)));
    }

    /// Goes through what was counted, by source and kind.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kind, &Covered)> {
        self.counts.iter().map(|((source, kind), counted)| (source.as_str(), *kind, counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::change::{EntityChanged, LayoutRecorded};
    use crate::event::decision::{PolicySetActivated, PolicyVersion};
    use crate::event::erasure::KeyDestroyed;
    use crate::event::{Actor, Envelope, Event, Readable, Recorded, stream_of_daemon};
    use crate::id::{Digest, LayoutId, Position, RunId, SagaId};
    use crate::record::{Cells, EntityRecord, Layout, Visibility};
    use crate::time::Timestamp;
    use crate::view::Keyed;
    use crate::view::due::Standing;

    const DIGEST: Digest = Digest([1; 32]);

    fn happens(views: &mut Views, entity: Option<EntityId>, event: Event) {
        let envelope = Envelope {
            event_type: event.event_type() as u16,
            schema: 1,
            sealed: false,
            position: Position(views.position.0 + 1),
            recorded_at: Timestamp(1),
            occurred_at: Timestamp(1),
            stream: stream_of_daemon(),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity,
            texts: None,
            body_len: 0,
            body_digest: DIGEST,
        };
        views.fold(&Recorded { envelope, event: Readable::Event(Box::new(event)) }, Some(&Keyed::default()));
    }

    fn record(layout: u32) -> EntityRecord {
        EntityRecord {
            layout: LayoutId(layout),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: String::new(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: Cells::default(),
        }
    }

    /// Contacts 0 to 4 and deals 5 to 7 of one source, a mailbox 8, and the policies `a`, `b` and `simulated`.
    fn views() -> Views {
        let mut views = Views::default();
        for (id, kind) in [(1, Kind::Contact), (2, Kind::Deal), (3, Kind::Mailbox)] {
            let layout = Layout { source: "crm".to_owned(), kind, columns: Vec::new(), named_dates: Vec::new() };
            happens(&mut views, None, Event::LayoutRecorded(LayoutRecorded { id: LayoutId(id), layout }));
        }
        let policies = ["a", "b", "simulated"].map(|id| PolicyVersion { id: id.to_owned(), digest: DIGEST }).to_vec();
        happens(&mut views, None, Event::PolicySetActivated(PolicySetActivated { digest: DIGEST, policies }));
        for (entity, layout) in (0..).zip([1, 1, 1, 1, 1, 2, 2, 2, 3]) {
            let changed = Event::EntityChanged(EntityChanged { record: record(layout) });
            happens(&mut views, Some(EntityId(entity)), changed);
            views.due.judged(EntityId(entity));
        }
        ["a", "b", "simulated"].iter().for_each(|id| views.due.policy_judged(id, DIGEST));
        views
    }

    fn counted(views: &Views, max: usize) -> Coverage {
        let enforced = ["a".to_owned(), "b".to_owned(), "gone".to_owned()];
        let mut coverage = Coverage::default();
        let mut next = Some(0);
        while let Some(from) = next {
            next = coverage.count(views, &enforced, from, max);
        }
        coverage
    }

    #[test]
    fn only_enforced_policies_cover_and_what_never_falls_due_is_told() {
        let mut views = views();
        views.due.set("a", DIGEST, EntityId(0), Standing::DueAt(Timestamp(5)));
        views.due.set("b", DIGEST, EntityId(0), Standing::NeverDue);
        views.due.set("b", DIGEST, EntityId(1), Standing::NeverDue);
        views.due.set("simulated", DIGEST, EntityId(2), Standing::DueAt(Timestamp(5)));
        views.due.set("simulated", DIGEST, EntityId(5), Standing::DueAt(Timestamp(5)));
        happens(
            &mut views,
            Some(EntityId(4)),
            Event::KeyDestroyed(KeyDestroyed { run: RunId(Position(1)), saga: SagaId(Position(1)), item: 0 }),
        );
        views.due.mark(EntityId(3));
        let coverage = counted(&views, 100);
        let policies: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
        let contacts = Covered { entities: 4, covered: 2, never_due: 1, waiting: 1, policies };
        let deals = Covered { entities: 3, ..Covered::default() };
        let found: Vec<_> = coverage.iter().collect();
        assert_eq!(found, [("crm", Kind::Contact, &contacts), ("crm", Kind::Deal, &deals)]);
        assert_eq!((contacts.uncovered(), deals.uncovered()), (2, 3));
    }

    #[test]
    fn counting_in_parts_counts_the_same() {
        let mut views = views();
        views.due.set("a", DIGEST, EntityId(6), Standing::DueAt(Timestamp(5)));
        for max in 1..10 {
            assert_eq!(counted(&views, max), counted(&views, 100), "{max}");
        }
        assert_eq!(counted(&Views::default(), 1), Coverage::default());
    }

    #[test]
    fn while_an_enforced_policy_is_new_everything_waits_for_it() {
        let mut views = views();
        let new = PolicyVersion { id: "b".to_owned(), digest: Digest([2; 32]) };
        let policies = vec![PolicyVersion { id: "a".to_owned(), digest: DIGEST }, new];
        happens(&mut views, None, Event::PolicySetActivated(PolicySetActivated { digest: DIGEST, policies }));
        views.due.set("a", DIGEST, EntityId(0), Standing::DueAt(Timestamp(5)));
        let coverage = counted(&views, 100);
        let waiting: Vec<u64> = coverage.iter().map(|(.., counted)| counted.waiting).collect();
        assert_eq!(waiting, [4, 3]);
    }
}
