//! The due index: per policy, on which day which entity falls due.
//!
//! A scheduled run looks at the days that have come and at nothing else. The day is only where to look: the exact
//! instant is judged again from the record when a plan is made.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::chunked::Chunked;
use super::marks::Marks;
use crate::event::decision::PolicyVersion;
use crate::id::{Digest, EntityId};
use crate::time::Timestamp;

/// Where an entity stands under one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The policy is not about it.
    OutOfScope,
    /// In scope, but it never falls due as it is: no start date, suspended, or it cannot be evaluated.
    NeverDue,
    /// It falls due at this instant.
    DueAt(Timestamp),
}

const OUT_OF_SCOPE: u16 = 0;
const NEVER: u16 = u16::MAX;

/// How many entities stand in one block of a written-out column.
const DAYS_PER_BLOCK: usize = 2_048;

/// Days are counted from 1970 in UTC, plus one; what lies before or beyond is moved to the nearest end.
fn day_of(at: Timestamp) -> u16 {
    let day = at.unix_seconds().div_euclid(86_400) + 1;
    u16::try_from(day.clamp(1, i64::from(NEVER) - 1)).unwrap_or(NEVER - 1)
}

impl Standing {
    fn to_day(self) -> u16 {
        match self {
            Self::OutOfScope => OUT_OF_SCOPE,
            Self::NeverDue => NEVER,
            Self::DueAt(at) => day_of(at),
        }
    }
}

/// The column of one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyDue {
    digest: Digest,
    days: Chunked<u16>,
    /// The inverse of `days`, for the days on which something falls due.
    buckets: BTreeMap<u16, RoaringBitmap>,
    in_scope: u64,
    dirty: Marks,
}

impl PolicyDue {
    fn empty(digest: Digest) -> Self {
        Self { digest, days: Chunked::default(), buckets: BTreeMap::new(), in_scope: 0, dirty: Marks::default() }
    }

    /// Returns the digest of the policy version that these days were judged by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Goes through the entities, ascending, whose day is not the same in two columns.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = EntityId> + 'a {
        let day = |column: &Self, i: usize| column.days.get(i).copied().unwrap_or(OUT_OF_SCOPE);
        (0..self.days.len().max(other.days.len()))
            .filter(move |&i| day(self, i) != day(other, i))
            .filter_map(|i| u32::try_from(i).ok().map(EntityId))
    }

    /// Returns how many entities are in scope.
    #[must_use]
    pub fn population(&self) -> u64 {
        self.in_scope
    }

    fn day(&self, entity: EntityId) -> u16 {
        self.days.get(entity.index()).copied().unwrap_or(OUT_OF_SCOPE)
    }

    /// Says whether an entity is in scope.
    #[must_use]
    pub fn is_about(&self, entity: EntityId) -> bool {
        self.day(entity) != OUT_OF_SCOPE
    }

    /// Says whether an entity is in scope and falls due on some day, as it is.
    #[must_use]
    pub fn has_day(&self, entity: EntityId) -> bool {
        !matches!(self.day(entity), OUT_OF_SCOPE | NEVER)
    }

    /// Returns the entities whose day has come at `now`, and perhaps some of that very day that are not due yet.
    #[must_use]
    pub fn due_by(&self, now: Timestamp) -> RoaringBitmap {
        self.buckets.range(..=day_of(now)).fold(RoaringBitmap::new(), |all, (_, some)| all | some)
    }

    /// Returns how many entities fall due per day (days since 1970 in UTC).
    pub fn days(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.buckets.iter().map(|(day, entities)| (day - 1, entities.len()))
    }

    /// Returns how many entities fall due within days, counted from 1970 in UTC: the first, and that after the last.
    #[must_use]
    pub fn due_within(&self, days: std::ops::Range<u32>) -> u64 {
        let place = |day: u32| u16::try_from(day.saturating_add(1)).unwrap_or(NEVER);
        let (from, upto) = (place(days.start), place(days.end));
        if from >= upto {
            return 0;
        }
        self.buckets.range(from..upto).map(|(_, entities)| entities.len()).sum()
    }

    fn set(&mut self, entity: EntityId, day: u16) {
        let i = entity.index();
        if self.days.len() <= i {
            if day == OUT_OF_SCOPE {
                return;
            }
            self.days.grow_to(i + 1, OUT_OF_SCOPE);
        }
        let Some(place) = self.days.get_mut(i) else { return };
        let before = std::mem::replace(place, day);
        if before == day {
            return;
        }
        self.dirty.insert(entity.0 / 2_048);
        self.in_scope = self.in_scope + u64::from(day != OUT_OF_SCOPE) - u64::from(before != OUT_OF_SCOPE);
        if !matches!(before, OUT_OF_SCOPE | NEVER)
            && let Some(bucket) = self.buckets.get_mut(&before)
        {
            bucket.remove(entity.0);
            if bucket.is_empty() {
                self.buckets.remove(&before);
            }
        }
        if !matches!(day, OUT_OF_SCOPE | NEVER) {
            self.buckets.entry(day).or_default().insert(entity.0);
        }
    }

    /// Returns the blocks that changed since this was last asked, and forgets them.
    pub fn take_dirty(&mut self) -> RoaringBitmap {
        self.dirty.take()
    }

    /// Marks blocks as changed again, when writing them out failed.
    pub fn mark_dirty(&mut self, blocks: &RoaringBitmap) {
        self.dirty.extend(blocks);
    }

    /// Returns the bytes of a block.
    #[must_use]
    pub fn block(&self, block: u32) -> Vec<u8> {
        let first = block as usize * DAYS_PER_BLOCK;
        self.days.iter_from(first).take(DAYS_PER_BLOCK).flat_map(|day| day.to_le_bytes()).collect()
    }

    fn load_block(&mut self, block: u32, bytes: &[u8]) {
        let first = u64::from(block) * DAYS_PER_BLOCK as u64;
        for (number, pair) in (first..=u64::from(u32::MAX)).zip(bytes.chunks_exact(2)) {
            if let (Ok(number), &[low, high]) = (usize::try_from(number), pair) {
                self.days.grow_to(number + 1, OUT_OF_SCOPE);
                if let Some(day) = self.days.get_mut(number) {
                    *day = u16::from_le_bytes([low, high]);
                }
            }
        }
    }

    /// Makes what is derived from the days. Entities are sorted by their day first: a set that is made in order costs a
    /// fraction of one that is made entity by entity.
    fn derive(&mut self) {
        let mut ends = vec![0usize; usize::from(u16::MAX) + 1];
        for &day in self.days.iter_from(0) {
            if let Some(count) = ends.get_mut(usize::from(day)) {
                *count += 1;
            }
        }
        self.in_scope = (self.days.len() - ends.first().copied().unwrap_or(0)) as u64;
        let is_dated = |day: u16| !matches!(day, OUT_OF_SCOPE | NEVER);
        let mut starts = vec![0usize; ends.len()];
        let mut total = 0;
        for (day, (count, start)) in (0..=u16::MAX).zip(ends.iter().zip(&mut starts)) {
            *start = total;
            total += if is_dated(day) { *count } else { 0 };
        }
        let mut sorted = vec![0u32; total];
        for (entity, &day) in (0u32..).zip(self.days.iter_from(0)) {
            if is_dated(day)
                && let Some(next) = starts.get_mut(usize::from(day))
                && let Some(place) = sorted.get_mut(*next)
            {
                *place = entity;
                *next += 1;
            }
        }
        self.buckets.clear();
        let mut rest = sorted.as_slice();
        for (day, count) in (0..=u16::MAX).zip(ends).filter(|(day, count)| is_dated(*day) && *count > 0) {
            let Some((here, behind)) = rest.split_at_checked(count) else { return };
            self.buckets.insert(day, here.iter().copied().collect());
            rest = behind;
        }
    }
}

/// The due index of all active policies, and what has to be judged again.
#[derive(Debug, Default)]
pub struct Due {
    policies: BTreeMap<String, PolicyDue>,
    /// Entities that no active policy has judged in their present state.
    unjudged: RoaringBitmap,
    /// Policies whose column is empty because they are new: everything has to be judged by them.
    unjudged_policies: BTreeMap<String, Digest>,
}

impl Due {
    /// Returns the column of a policy.
    #[must_use]
    pub fn policy(&self, id: &str) -> Option<&PolicyDue> {
        self.policies.get(id)
    }

    /// Goes through all columns.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &PolicyDue)> {
        self.policies.iter().map(|(id, due)| (id.as_str(), due))
    }

    /// Goes through all columns, for writing them out.
    pub fn policies_mut(&mut self) -> impl Iterator<Item = (&str, &mut PolicyDue)> {
        self.policies.iter_mut().map(|(id, due)| (id.as_str(), due))
    }

    /// Notes that an entity has to be judged again.
    pub fn mark(&mut self, entity: EntityId) {
        self.unjudged.insert(entity.0);
    }

    /// Makes the columns fit a new policy set: unchanged policies keep theirs, new ones start empty.
    pub(super) fn activate(&mut self, set: &[PolicyVersion]) {
        self.policies.retain(|id, due| set.iter().any(|policy| policy.id == *id && policy.digest == due.digest));
        self.unjudged_policies.retain(|id, digest| set.iter().any(|p| p.id == *id && p.digest == *digest));
        for policy in set {
            if !self.policies.contains_key(&policy.id) {
                self.policies.insert(policy.id.clone(), PolicyDue::empty(policy.digest));
                self.unjudged_policies.insert(policy.id.clone(), policy.digest);
            }
        }
    }

    /// Records where an entity stands under a policy; without effect when that version is no longer active.
    pub fn set(&mut self, policy: &str, digest: Digest, entity: EntityId, standing: Standing) {
        if let Some(due) = self.policies.get_mut(policy)
            && due.digest == digest
        {
            due.set(entity, standing.to_day());
        }
    }

    /// Notes that all policies have judged an entity in its present state.
    pub fn judged(&mut self, entity: EntityId) {
        if !self.unjudged.is_empty() {
            self.unjudged.remove(entity.0);
        }
    }

    /// Notes that a policy has judged every entity.
    pub fn policy_judged(&mut self, policy: &str, digest: Digest) {
        if self.unjudged_policies.get(policy) == Some(&digest) {
            self.unjudged_policies.remove(policy);
        }
    }

    /// Returns the entities that have to be judged again.
    #[must_use]
    pub fn unjudged(&self) -> &RoaringBitmap {
        &self.unjudged
    }

    /// Returns the policies that have not judged everything yet.
    #[must_use]
    pub fn unjudged_policies(&self) -> Vec<PolicyVersion> {
        self.unjudged_policies.iter().map(|(id, digest)| PolicyVersion { id: id.clone(), digest: *digest }).collect()
    }

    /// Says whether every entity was judged by every active policy in its present state.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unjudged.is_empty() && self.unjudged_policies.is_empty()
    }

    pub(super) fn forget(&mut self, entity: EntityId) {
        for due in self.policies.values_mut() {
            due.set(entity, OUT_OF_SCOPE);
        }
        self.unjudged.remove(entity.0);
    }

    /// Takes a written-out block back in. After the last one comes [`Self::loaded`].
    pub fn load_block(&mut self, policy: &str, digest: Digest, block: u32, bytes: &[u8]) {
        self.policies.entry(policy.to_owned()).or_insert_with(|| PolicyDue::empty(digest)).load_block(block, bytes);
    }

    /// Ends the loading of blocks: until then nothing is found by its day.
    pub fn loaded(&mut self) {
        self.policies.values_mut().for_each(PolicyDue::derive);
    }

    /// Takes back in what has to be judged again, and which policies have columns.
    pub fn load_pending(&mut self, unjudged: RoaringBitmap, columns: &[PolicyVersion], pending: &[PolicyVersion]) {
        self.unjudged = unjudged;
        for policy in columns {
            self.policies.entry(policy.id.clone()).or_insert_with(|| PolicyDue::empty(policy.digest));
        }
        self.unjudged_policies = pending.iter().map(|p| (p.id.clone(), p.digest)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_unix_seconds(n * 86_400 + 3_600)
    }

    #[test]
    fn moving_an_entity_leaves_nothing_behind() {
        let mut due = Due::default();
        let digest = Digest([1; 32]);
        due.activate(&[PolicyVersion { id: "p".into(), digest }]);
        due.set("p", digest, EntityId(5), Standing::DueAt(day(10)));
        due.set("p", digest, EntityId(5), Standing::DueAt(day(20)));
        due.set("p", digest, EntityId(6), Standing::NeverDue);
        let column = due.policy("p").unwrap();
        assert_eq!(column.population(), 2);
        assert!(column.due_by(day(19)).is_empty());
        assert_eq!(column.due_by(day(20)).iter().collect::<Vec<_>>(), [5]);
        due.forget(EntityId(5));
        assert_eq!(due.policy("p").unwrap().population(), 1);
        assert!(due.policy("p").unwrap().due_by(day(60_000)).is_empty());
    }

    #[test]
    fn what_is_loaded_is_what_was_set() {
        let digest = Digest([1; 32]);
        let mut due = Due::default();
        due.activate(&[PolicyVersion { id: "p".into(), digest }]);
        for n in 0..5_000u32 {
            let standing = match n % 7 {
                0 => Standing::OutOfScope,
                1 => Standing::NeverDue,
                _ => Standing::DueAt(day(i64::from(n * 31 % 91))),
            };
            due.set("p", digest, EntityId(n), standing);
        }
        let mut again = Due::default();
        for block in 0..3 {
            again.load_block("p", digest, block, &due.policy("p").unwrap().block(block));
        }
        again.loaded();
        let (one, other) = (due.policy("p").unwrap(), again.policy("p").unwrap());
        assert_eq!((&one.days, &one.buckets, one.in_scope), (&other.days, &other.buckets, other.in_scope));
        assert!(one.in_scope > 4_000 && one.buckets.len() > 40);
    }

    #[test]
    fn days_far_away_are_moved_to_the_ends_and_never_lost() {
        assert_eq!(day_of(Timestamp(i64::MIN)), 1);
        assert_eq!(day_of(Timestamp(i64::MAX)), NEVER - 1);
    }
}
