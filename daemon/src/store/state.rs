//! The views in memory, with the policies that judge what is folded into them.

use std::collections::HashMap;
use std::sync::Arc;

use retention_core::event::{Envelope, Event, Recorded};
use retention_core::id::{EntityId, Handle, LayoutId};
use retention_core::policy::{BoundSet, DueDay, Facts, PolicySet};
use retention_core::record::activity::Activity;
use retention_core::record::{EntityRecord, Kind, Layout};
use retention_core::view::due::Standing;
use retention_core::view::{EntityState, Keyed, Row, Views};

use super::vault::IndexKey;

/// The active policies, bound to one layout.
pub struct Bound {
    /// The layout.
    pub layout: Layout,
    /// The policies.
    pub set: BoundSet,
}

/// The views and the active policies.
pub struct State {
    /// What is true now.
    pub views: Views,
    policies: Arc<PolicySet>,
    bound: HashMap<LayoutId, Arc<Bound>>,
    /// The one that judged last: neighbours in the log mostly have the same layout.
    last_bound: Option<(LayoutId, Arc<Bound>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            views: Views::default(),
            policies: Arc::new(PolicySet::empty()),
            bound: HashMap::new(),
            last_bound: None,
        }
    }
}

impl State {
    /// Returns the active policies, as far as they were given to this process.
    #[must_use]
    pub fn policies(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// Sets the policies that judge from now on. The columns of the due index follow the log, not this.
    pub fn install(&mut self, policies: Arc<PolicySet>) {
        self.policies = policies;
        self.bound.clear();
        self.last_bound = None;
    }

    /// Folds an event and judges the entity that it changes.
    pub fn fold(&mut self, recorded: &Recorded, keyed: Option<&Keyed>) {
        self.views.index_alike(&recorded.envelope, recorded.envelope.position);
        self.fold_unindexed(&recorded.envelope, recorded.event(), keyed);
    }

    /// As [`Self::fold`], but for what [`Views::index_alike`] does.
    pub fn fold_unindexed(&mut self, envelope: &Envelope, event: Option<&Event>, keyed: Option<&Keyed>) {
        let changed = self.views.fold_unindexed(envelope, event, keyed);
        if let (Some(entity), Some(Event::EntityChanged(body))) = (changed, event)
            && !self.judge(entity, &body.record)
        {
            self.views.due.mark(entity);
        }
    }

    /// Returns a layout with the policies bound to it, if that was asked before.
    #[must_use]
    pub fn known_bound(&self, id: LayoutId) -> Option<Arc<Bound>> {
        self.bound.get(&id).map(Arc::clone)
    }

    /// Returns a layout with the policies bound to it.
    pub fn bound(&mut self, id: LayoutId) -> Option<Arc<Bound>> {
        if let Some(bound) = self.bound.get(&id) {
            return Some(Arc::clone(bound));
        }
        let layout = self.views.small.layouts.get(id)?.clone();
        let set = self.policies.bind(&layout);
        let bound = Arc::new(Bound { layout, set });
        self.bound.insert(id, Arc::clone(&bound));
        Some(bound)
    }

    /// Judges an entity by every active policy and writes the days into the due index.
    ///
    /// Says whether it could: it cannot while the installed policies are not the ones of the log, and an entity that
    /// was marked as unjudged then stays so.
    pub fn judge(&mut self, entity: EntityId, record: &EntityRecord) -> bool {
        if self.views.small.policies.digest != Some(self.policies.digest()) {
            return false;
        }
        let known = self.last_bound.take().filter(|(layout, _)| *layout == record.layout);
        let Some(bound) = known.map(|(_, bound)| bound).or_else(|| self.bound(record.layout)) else { return false };
        let is_judged = self.judge_by(&bound, entity, record);
        self.last_bound = Some((record.layout, bound));
        is_judged
    }

    fn judge_by(&mut self, bound: &Bound, entity: EntityId, record: &EntityRecord) -> bool {
        let Some(row) = self.views.entities.row(entity) else { return false };
        if row.state == EntityState::Purged {
            self.views.due.judged(entity);
            return true;
        }
        let open_deals = self.views.open_deals(entity);
        let activities = if bound.set.tells_activities_apart() { self.views.activities_of(entity) } else { Vec::new() };
        let facts = facts(&bound.layout, record, &row, open_deals, &activities);
        for policy in bound.set.policies() {
            let standing = match policy.day(&policy.assess(&facts), &facts) {
                DueDay::OutOfScope => Standing::OutOfScope,
                DueDay::Never => Standing::NeverDue,
                DueDay::At(at) => Standing::DueAt(at),
            };
            self.views.due.set(&policy.policy().id, policy.policy().digest(), entity, standing);
        }
        self.views.due.judged(entity);
        true
    }
}

/// Puts together what policies look at.
#[must_use]
pub fn facts<'a>(
    layout: &'a Layout,
    record: &'a EntityRecord,
    row: &Row,
    open_deals: u32,
    activities: &'a [Activity],
) -> Facts<'a> {
    Facts { layout, record, first_seen: row.first_seen, last_activity: row.last_activity, activities, open_deals }
}

/// Returns the handle of an id: the same id in another source, mailbox or kind is another entity.
#[must_use]
pub fn handle_of(key: &IndexKey, source: &str, mailbox: Option<EntityId>, kind: Kind, external_id: &str) -> Handle {
    let mailbox = mailbox.map_or(u32::MAX, |mailbox| mailbox.0).to_le_bytes();
    key.handle(&[source.as_bytes(), &mailbox, &[kind as u8], external_id.as_bytes()])
}

/// Computes what only the holder of the index key can tell about a changed entity.
#[must_use]
pub fn keyed(key: &IndexKey, views: &Views, record: &EntityRecord, encoded: &[u8]) -> Keyed {
    let Some(layout) = views.small.layouts.get(record.layout) else { return Keyed::default() };
    let handle = |id: &str| handle_of(key, &layout.source, record.mailbox, layout.kind, id);
    Keyed {
        handle: handle(&record.external_id),
        others: record.other_ids.iter().filter(|id| **id != record.external_id).map(|id| handle(id)).collect(),
        digest: key.digest64(encoded),
    }
}
