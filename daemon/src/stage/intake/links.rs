//! Links: external ids become numbers, after all rows of a delivery are in the log.
//!
//! A delivery that names links is read a second time: then every entity it holds is known, whatever the order of its
//! rows, and memory does not grow with the number of links. What a link leads to may also come with a later delivery
//! of the same source. So when an intake added entities, and an earlier one left links that lead to nothing, the
//! entities of the same source that this delivery did not name are resolved again from their records. All of this
//! compares with what is known, so it can be repeated after a crash and ends in the same state.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::change::{EntityLinked, Link};
use retention_core::id::{EntityId, Handle, LayoutId, Position};
use retention_core::record::activity::{ActivityClass, ActivityRules};
use retention_core::record::field::CUSTOM_PREFIX;
use retention_core::record::{Cells, DateRole, EntityRecord, FieldType, Kind, Layout, Relation, SourceLink};
use retention_core::text::unguarded;
use retention_core::time::{Timestamp, iso};
use retention_core::view::{Condition, EntityState, Views};

use super::IntakeError;
use super::batch::{HandleHasher, Handles};
use super::gone::ENTITIES_PER_LOOK;
use super::outcome::Oddity;
use super::reading::CHANGES_PER_BATCH;
use super::rows::{KnownLayout, Taking};
use crate::connector::change::SourceRow;
use crate::connector::drop::date;

/// In how many mailboxes of a source an id is looked for that is unknown in its own: each costs a handle for each such link.
const MAILBOXES_SEARCHED_MAX: usize = 1_000;

/// What one entity names, as handles.
struct Named<'r> {
    from: From,
    source: Arc<str>,
    mailbox: Option<EntityId>,
    links: Vec<(Relation, Handle)>,
    /// What it names, in the order of the first links.
    told: Cow<'r, [SourceLink]>,
    at: Option<Timestamp>,
    /// Whether a date stands there that nobody could read, so that `at` may be too early.
    has_unread_date: bool,
    class: Option<ActivityClass>,
}

/// Links that do not lead to what is there.
#[derive(Default)]
struct Astray {
    /// How many lead to nothing in their own mailbox.
    dangling: u64,
    /// Whether there may be any, those to what is gone included.
    is_any: bool,
}

/// Which entity names it.
enum From {
    Row(Handle),
    Entity(EntityId),
}

/// One entity whose links are to be recorded.
struct Resolved {
    from: (EntityId, Position),
    links: Vec<Link>,
    at: Option<Timestamp>,
    class: Option<ActivityClass>,
    versions: Vec<(EntityId, Position)>,
}

/// The dates by which something that a mapping calls an activity has taken place at the latest.
const PAST: [DateRole; 6] = [
    DateRole::Occurred,
    DateRole::Modified,
    DateRole::Created,
    DateRole::LastActivity,
    DateRole::Closed,
    DateRole::Received,
];

/// When an entity counts as activity of what it is about. A mapping may know no more of a call than when it was entered: it
/// took place all the same.
fn activity_at(kind: Kind, dates: &[(DateRole, Timestamp)]) -> Option<Timestamp> {
    let past = || dates.iter().filter(|(role, _)| PAST.contains(role)).map(|(_, at)| *at).max();
    told_at(kind, dates).or_else(|| past().filter(|_| ActivityRules::KINDS.contains(&kind)))
}

/// The date that says itself when an activity was.
fn told_at(kind: Kind, dates: &[(DateRole, Timestamp)]) -> Option<Timestamp> {
    let date = |role: DateRole| dates.iter().find(|(known, _)| *known == role).map(|(_, at)| *at);
    match kind {
        Kind::Activity | Kind::Post => date(DateRole::Occurred),
        Kind::Task => date(DateRole::Modified).or_else(|| date(DateRole::Created)),
        Kind::Contact
        | Kind::Company
        | Kind::Deal
        | Kind::Insight
        | Kind::Template
        | Kind::File
        | Kind::Mailbox
        | Kind::Intake
        | Kind::Message
        | Kind::AuditMonth => None,
    }
}

/// Says whether a date that tells when an entity counts as activity stands in its cells and was not read. What was read
/// stands there in ISO form, or in the culture of the machine that wrote it.
fn has_unread_date(layout: &Layout, dates: &[(DateRole, Timestamp)], cells: &Cells) -> bool {
    let lacks = |role: DateRole| !dates.iter().any(|(known, _)| *known == role);
    let tells = |field: &str| match field {
        "event_time" => lacks(DateRole::Occurred),
        "modified" => lacks(DateRole::Modified),
        // A mapping may have named a column of its own.
        "created" => told_at(layout.kind, dates).is_none(),
        field => field.starts_with(CUSTOM_PREFIX) && told_at(layout.kind, dates).is_none(),
    };
    let is_none = |cell: &str| cell.trim().is_empty() || date::is_none_in_culture(cell);
    let is_unread = |cell: &str| !iso::is_read(cell) && !is_none(cell);
    ActivityRules::KINDS.contains(&layout.kind)
        && layout.columns.iter().zip(cells.iter()).any(|(column, cell)| {
            column.field_type == FieldType::Date && cell.is_some_and(is_unread) && tells(&column.field)
        })
}

/// Says whether a link only names once more what the one before it does, by its id with what guards it: it leads to whoever
/// was taken in under that id, and else to nothing that anybody misses.
fn is_former(told: &[SourceLink], number: usize) -> bool {
    let before = number.checked_sub(1).and_then(|before| told.get(before));
    before.zip(told.get(number)).is_some_and(|(plain, link)| is_guarded_form(plain, link))
}

fn is_guarded_form(plain: &SourceLink, link: &SourceLink) -> bool {
    (plain.relation, plain.kind) == (link.relation, link.kind)
        && plain.external_id != link.external_id
        && plain.external_id == unguarded(&link.external_id)
}

/// Returns the links of a record that was taken in when what guards an id was a part of it, each with the one without that
/// before it: by that one whoever it means is known since.
fn with_plain(links: Vec<SourceLink>) -> Vec<SourceLink> {
    let mut all: Vec<SourceLink> = Vec::with_capacity(links.len());
    for link in links {
        let plain = unguarded(&link.external_id);
        let is_told = plain == link.external_id || all.last().is_some_and(|last| is_guarded_form(last, &link));
        if !plain.is_empty() && !is_told {
            all.push(SourceLink { relation: link.relation, kind: link.kind, external_id: plain.to_owned() });
        }
        all.push(link);
    }
    all
}

/// Says whether what a link means is known in its own mailbox under none of its ids.
fn leads_to_nothing(views: &Views, named: &Named<'_>, number: usize) -> bool {
    leads_to_none_that(named, number, |handle| views.entities.find(handle).is_some())
}

/// Says whether what a link means is not in its own mailbox, or no longer: whoever got another owner is in that one's.
fn is_not_here(views: &Views, named: &Named<'_>, number: usize) -> bool {
    leads_to_none_that(named, number, |handle| views.entities.find_all(handle).any(|to| !is_gone(views, to)))
}

fn leads_to_none_that(named: &Named<'_>, number: usize, is_it: impl Fn(Handle) -> bool) -> bool {
    let leads_there = |number: usize| named.links.get(number).is_some_and(|(_, handle)| is_it(*handle));
    let told = &named.told;
    !(is_former(told, number) || leads_there(number) || is_former(told, number + 1) && leads_there(number + 1))
}

fn is_gone(views: &Views, entity: EntityId) -> bool {
    views.entities.row(entity).is_none_or(|row| row.absent || row.state == EntityState::Purged)
}

impl Taking<'_> {
    /// Resolves the links of rows that are all in the log.
    pub(super) fn link_rows(&mut self, rows: &[SourceRow]) -> Result<(), IntakeError> {
        let mut named: Vec<Option<Named<'_>>> = Vec::with_capacity(rows.len());
        let mut latest = HashMap::with_capacity_and_hasher(rows.len(), BuildHasherDefault::<HandleHasher>::default());
        let told = self.told_by(rows);
        for (row, (class, has_unread_date)) in rows.iter().zip(told) {
            let layout = self.layouts.get(row.layout).ok_or(IntakeError::ReaderFailed)?;
            let mailbox = self.mailbox_of(layout, row.mailbox.as_ref());
            let own = self.store.handle_of(&layout.source, mailbox, layout.kind, &row.external_id);
            let links = self.handles_of(layout, mailbox, &row.links);
            // The later of two rows with one id counts here too.
            if let Some(earlier) = latest.insert(own, named.len()).and_then(|earlier| named.get_mut(earlier)) {
                *earlier = None;
            }
            let at = activity_at(layout.kind, &row.dates);
            let (source, told) = (Arc::clone(&layout.source), Cow::Borrowed(row.links.as_slice()));
            let from = From::Row(own);
            named.push(Some(Named { from, source, mailbox, links, told, at, has_unread_date, class }));
        }
        let dangling = self.record_links(named.into_iter().flatten())?;
        self.counts.dangling += dangling;
        Ok(())
    }

    /// Returns the class of each row that is an activity, as far as the configuration names it, and whether its date
    /// could not be read.
    fn told_by(&mut self, rows: &[SourceRow]) -> Vec<(Option<ActivityClass>, bool)> {
        let mut unclassified = 0;
        let mut first = None;
        // A rule that names another source is as good as none, and nobody would see that otherwise.
        let may_have_class = !self.activities.is_empty();
        let told = self.store.view(|views| {
            let told = |row: &SourceRow| {
                let layout = views.small.layouts.get(self.layouts.get(row.layout)?.id)?;
                let class = self.activities.class_of(layout, &row.cells);
                if class.is_none() && may_have_class && ActivityRules::KINDS.contains(&layout.kind) {
                    unclassified += 1;
                    first = first.or(Some(row.place));
                }
                Some((class, has_unread_date(layout, &row.dates, &row.cells)))
            };
            rows.iter().map(told).map(Option::unwrap_or_default).collect()
        });
        if let Some(first) = first {
            let name = Oddity::ActivityUnclassified.name();
            *self.oddities.entry(name).or_default() += unclassified;
            self.first_odd.entry(name).or_insert(first);
        }
        told
    }

    /// Resolves the links of entities that this delivery did not name: of all, when some lead to nothing, and else of those
    /// that are tied to what is gone from where it was.
    pub(super) fn link_others(&mut self, has_dangling: bool) -> Result<(), IntakeError> {
        self.in_flight.drain()?;
        // What is gone is known elsewhere only where others are looked into.
        if !has_dangling && (!self.searches_mailboxes || self.store.view(|views| views.links.is_empty())) {
            return Ok(());
        }
        let sources: Vec<_> = self.layouts.iter().map(|layout| layout.source.clone()).collect();
        let (layouts, bound) = self.store.view(|views| {
            let ours = views.small.layouts.iter().filter(|(_, layout)| sources.iter().any(|s| **s == *layout.source));
            let known = ours
                .filter(|(_, layout)| layout.kind != Kind::Mailbox)
                .map(|(id, layout)| (id, KnownLayout { id, source: layout.source.as_str().into(), kind: layout.kind }));
            (known.collect::<BTreeMap<_, _>>(), views.entities.bound())
        });
        for from in (0..bound).step_by(ENTITIES_PER_LOOK as usize) {
            let to = from.saturating_add(ENTITIES_PER_LOOK).min(bound);
            let unseen: Vec<EntityId> =
                (from..to).filter(|number| !self.seen.contains(*number)).map(EntityId).collect();
            let versions: Vec<(EntityId, Position)> = self.store.view(|views| {
                let version = |entity: EntityId| {
                    let row = views.entities.row(entity)?;
                    let may_lead_on = || has_dangling || views.links.of(entity).any(|link| is_gone(views, link.to));
                    // What is gone from the source took place all the same.
                    (row.state != EntityState::Purged && layouts.contains_key(&row.layout) && may_lead_on())
                        .then_some((entity, row.version))
                };
                unseen.into_iter().filter_map(version).collect()
            });
            for chunk in versions.chunks(CHANGES_PER_BATCH) {
                self.store.halt().check()?;
                self.link_entities(chunk, &layouts)?;
            }
        }
        Ok(())
    }

    fn link_entities(
        &mut self,
        entities: &[(EntityId, Position)],
        layouts: &BTreeMap<retention_core::id::LayoutId, KnownLayout>,
    ) -> Result<(), IntakeError> {
        let mut named = Vec::new();
        for (entity, version) in entities {
            let Some(record) = self.store.record_at(*version)? else { continue };
            let EntityRecord { layout, mailbox, links, dates, cells, .. } = record;
            let told = self.store.view(|views| {
                // What told the class may have been taken out, and what is left could tell another one.
                let is_whole = views.small.redactions.left_of(*entity).is_none();
                let layout = views.small.layouts.get(layout).filter(|_| is_whole)?;
                Some((self.activities.class_of(layout, &cells), has_unread_date(layout, &dates, &cells)))
            });
            let (class, has_unread_date) = told.unwrap_or_default();
            let Some(layout) = layouts.get(&layout).filter(|_| !links.is_empty()) else { continue };
            let (source, told) = (Arc::clone(&layout.source), Cow::Owned(with_plain(links)));
            let links = self.handles_of(layout, mailbox, &told);
            let at = activity_at(layout.kind, &dates);
            let from = From::Entity(*entity);
            named.push(Named { from, source, mailbox, links, told, at, has_unread_date, class });
        }
        self.record_links(named.into_iter()).map(|_| ())
    }

    fn handles_of(
        &self,
        layout: &KnownLayout,
        mailbox: Option<EntityId>,
        links: &[SourceLink],
    ) -> Vec<(Relation, Handle)> {
        let handle = |link: &SourceLink| self.store.handle_of(&layout.source, mailbox, link.kind, &link.external_id);
        links.iter().map(|link| (link.relation, handle(link))).collect()
    }

    /// Adds what links lead to in other mailboxes of the source, where their own knows nothing of that id, or only what is
    /// gone from there: whoever called the customer of a colleague dealt with that customer, and whoever got another owner is
    /// whom the deals of the former one are about. Says whether there is any. A link of which its own mailbox knows nothing
    /// still counts as one that leads to nothing, so it is resolved again when its own mailbox gets to know the id.
    fn look_elsewhere(&mut self, named: &mut [Named<'_>]) -> bool {
        let lost: Vec<(usize, usize)> = self.store.view(|views| {
            let numbered = named
                .iter()
                .enumerate()
                .flat_map(|(entity, named)| (0..named.links.len()).map(move |number| (entity, number, named)));
            let lost = numbered.filter(|(_, number, named)| is_not_here(views, named, *number));
            lost.map(|(entity, number, _)| (entity, number)).collect()
        });
        let mut is_any = false;
        for (entity, number) in lost {
            let Some(named) = named.get_mut(entity) else { continue };
            let mailboxes = self.mailboxes_of_source(&named.source);
            // By its former id as well, under which it may be known there.
            let ids = number..=number + usize::from(is_former(&named.told, number + 1));
            let Some(links) = named.told.get(ids) else { continue };
            let others = mailboxes.iter().copied().map(Some).chain([None]).filter(|other| *other != named.mailbox);
            let handle =
                |mailbox, link: &SourceLink| self.store.handle_of(&named.source, mailbox, link.kind, &link.external_id);
            let handles: Vec<(Relation, Handle)> = others
                .flat_map(|other| links.iter().map(move |link| (link.relation, other, link)))
                .map(|(relation, other, link)| (relation, handle(other, link)))
                .collect();
            let known: Vec<(Relation, Handle)> = self.store.view(|views| {
                handles.into_iter().filter(|(_, handle)| views.entities.find(*handle).is_some()).collect()
            });
            is_any |= !known.is_empty();
            named.links.extend(known);
        }
        is_any
    }

    /// Returns the mailboxes of a source, or none when they are too many to look into each.
    fn mailboxes_of_source(&mut self, source: &Arc<str>) -> Arc<[EntityId]> {
        if let Some(known) = self.mailboxes_of_sources.get(source) {
            return Arc::clone(known);
        }
        let mut found: Vec<EntityId> = self.store.view(|views| {
            let is_of_source = |kind: Kind, name: &str| kind == Kind::Mailbox && *name == **source;
            let layouts =
                views.small.layouts.iter().filter(|(_, layout)| is_of_source(layout.kind, layout.source.as_str()));
            let layouts: BTreeSet<LayoutId> = layouts.map(|(id, _)| id).collect();
            let is_mailbox = |entity: &EntityId| {
                let row = views.entities.row(*entity);
                row.is_some_and(|row| row.state != EntityState::Purged && layouts.contains(&row.layout))
            };
            views.entities.numbers_from(0).filter(is_mailbox).take(MAILBOXES_SEARCHED_MAX + 1).collect()
        });
        if found.len() > MAILBOXES_SEARCHED_MAX {
            found.clear();
        }
        let found: Arc<[EntityId]> = found.into();
        self.mailboxes_of_sources.insert(Arc::clone(source), Arc::clone(&found));
        found
    }

    fn resolve_all(&self, named: &[Named<'_>]) -> (Vec<Resolved>, Astray) {
        let mut astray = Astray::default();
        let resolved =
            self.store.view(|views| named.iter().filter_map(|named| resolve(views, named, &mut astray)).collect());
        (resolved, astray)
    }

    /// Records the links that differ from what is known; returns how many lead to nothing in their own mailbox.
    fn record_links<'r>(&mut self, named: impl Iterator<Item = Named<'r>>) -> Result<u64, IntakeError> {
        let mut named: Vec<Named<'r>> = named.collect();
        let (mut resolved, mut astray) = self.resolve_all(&named);
        if astray.is_any && self.searches_mailboxes && self.look_elsewhere(&mut named) {
            (resolved, astray) = self.resolve_all(&named);
        }
        self.counts.linked += resolved.len() as u64;
        let mut events = Vec::with_capacity(resolved.len());
        let mut versions = Vec::with_capacity(resolved.len());
        for Resolved { from: (from, version), links, at, class, versions: others } in resolved {
            let event = Event::EntityLinked(EntityLinked { links, at, class });
            events.push(self.store.prepare(self.draft(from, at, event), None)?);
            versions.push((from, version));
            versions.extend(others);
        }
        versions.sort_unstable();
        versions.dedup();
        self.in_flight.send(self.store, events, Condition::Versions(versions), Handles::default())?;
        Ok(astray.dangling)
    }
}

/// Returns the links of an entity if the log does not know them yet: another set, or a later activity of its class.
///
/// What is left of a redaction has no class to compare, and its activity was recorded with the class that it had. So it
/// is news only beyond every activity of the other one: then it was never recorded, and counts without a class.
fn resolve(views: &Views, named: &Named<'_>, astray: &mut Astray) -> Option<Resolved> {
    let from = match named.from {
        From::Row(handle) => views.entities.find(handle)?,
        From::Entity(entity) => entity,
    };
    let row = views.entities.row(from).filter(|row| row.state != EntityState::Purged)?;
    // It took place, and before it was delivered: passed over, it would let what it is about become due too early.
    let at = named.at.max(named.has_unread_date.then_some(row.first_seen));
    let mut links = Vec::with_capacity(named.links.len());
    let mut versions = Vec::new();
    let is_rest = matches!(named.from, From::Entity(_)) && views.small.redactions.left_of(from).is_some();
    let mut is_news = false;
    for (number, (relation, handle)) in named.links.iter().enumerate() {
        let mut is_there = false;
        for (to, target) in views.entities.find_all(*handle).filter_map(|to| Some((to, views.entities.row(to)?))) {
            is_there |= !target.absent;
            if to == from {
                continue;
            }
            links.push(Link { relation: *relation, to });
            versions.push((to, target.version));
            is_news |= *relation == Relation::About
                && match is_rest {
                    true => at > target.last_activity,
                    false => views.is_newer_activity(to, named.class.as_ref(), at),
                };
        }
        astray.is_any |= !is_there;
        astray.dangling += u64::from(leads_to_nothing(views, named, number));
    }
    links.sort_unstable();
    links.dedup();
    is_news |= !views.links.of(from).eq(links.iter().copied());
    let class = named.class.clone();
    is_news.then_some(Resolved { from: (from, row.version), links, at, class, versions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_named_with_what_guards_an_id_is_named_without_it_as_well() {
        let (relation, kind) = (Relation::Associated, Kind::Contact);
        let link = |id: &str| SourceLink { relation, kind, external_id: id.to_owned() };
        let (plain, guarded) = (link("007"), link("=\"007\""));
        let both = vec![link("8"), plain.clone(), guarded.clone()];
        assert_eq!(with_plain(vec![link("8"), guarded]), both);
        assert_eq!(with_plain(both.clone()), both, "it was told with both");
        assert_eq!([0, 1, 2, 3].map(|number| is_former(&both, number)), [false, false, true, false]);
    }
}
