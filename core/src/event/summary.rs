//! What an event says, without personal data: facts for a table, and one line for a story.
//!
//! Names of plans, runs, policies and sources, counts, codes and digests are shown to everybody who may read the log.
//! Names and ids of the outside world, and what operators wrote, are only in sealed bodies, and are shown only if the
//! caller may have them opened. Everything is made from the event alone, so the same log gives the same lines.

use std::collections::BTreeMap;
use std::fmt;

use super::hold::HoldJudgement;
use super::review::ReviewVerdict;
use super::{Event, EventType, Readable, Recorded};
use crate::event::saga::{Receipt, SkipReason};
use crate::id::EntityId;
use crate::record::redact::Treatment;
use crate::time::Timestamp;

mod grant;
mod subject;

/// How much of an event may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disclosure {
    /// What names nobody.
    Nameless,
    /// Names, ids and what operators wrote. Cells of a record are never part of a summary.
    Opened,
}

/// One fact of an event: what it is about, and its value.
pub type Fact = (&'static str, String);

/// Returns what an event says, in a fixed order.
#[must_use]
pub fn describe(recorded: &Recorded, disclosure: Disclosure) -> Vec<Fact> {
    match &recorded.event {
        Readable::Gone => vec![("body", "gone".to_owned())],
        Readable::Unknown => vec![("body", "unknown".to_owned())],
        Readable::Facts(event) => {
            let told = facts_of(event).into_iter().filter(|(_, may_name)| !may_name);
            told.map(|(fact, _)| fact).chain([("texts", "erased".to_owned())]).collect()
        }
        Readable::Event(event) => {
            let told = facts_of(event);
            let is_shown = |may_name: bool| !may_name || disclosure == Disclosure::Opened;
            let rest = told.iter().any(|(_, may_name)| !is_shown(*may_name));
            let rest = rest.then(|| ("body", "sealed".to_owned()));
            told.into_iter().filter(|(_, may_name)| is_shown(*may_name)).map(|(fact, _)| fact).chain(rest).collect()
        }
    }
}

/// Says what an event says, on one line: `key=value`, divided by blanks.
///
/// Values that hold a blank or anything that is not printable ASCII are quoted, so a line stays a line.
#[must_use]
pub fn line(recorded: &Recorded, disclosure: Disclosure) -> String {
    let word = |(key, value): Fact| {
        let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        if is_plain { format!("{key}={value}") } else { format!("{key}={value:?}") }
    };
    describe(recorded, disclosure).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// One line of a story: `12 EntityChanged E3 by daemon` and what else the event says, as [`line()`] does.
#[derive(Debug, Clone, Copy)]
pub struct StoryLine<'a> {
    recorded: &'a Recorded,
    disclosure: Disclosure,
}

impl<'a> StoryLine<'a> {
    /// Tells of an event.
    #[must_use]
    pub fn of(recorded: &'a Recorded, disclosure: Disclosure) -> Self {
        Self { recorded, disclosure }
    }
}

impl fmt::Display for StoryLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envelope = &self.recorded.envelope;
        write!(f, "{} {}", envelope.position, type_name(envelope.event_type))?;
        if let Some(entity) = envelope.entity {
            write!(f, " {entity}")?;
        }
        write!(f, " by {}", envelope.actor)?;
        match line(self.recorded, self.disclosure) {
            said if said.is_empty() => Ok(()),
            said => write!(f, " {said}"),
        }
    }
}

/// Returns the name of a stored type number; `Unknown(17)` for what a newer program wrote.
#[must_use]
pub fn type_name(number: u16) -> String {
    EventType::from_number(number).map_or_else(|| format!("Unknown({number})"), |known| known.name().to_owned())
}

/// Collects facts, each with whether it may name somebody.
struct Facts(Vec<(Fact, bool)>);

impl Facts {
    fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.push(((key, value.to_string()), false));
        self
    }

    /// Adds what may name somebody.
    fn naming(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.push(((key, value.to_string()), true));
        self
    }

    fn with_at(self, key: &'static str, at: Option<Timestamp>) -> Self {
        match at {
            Some(at) => self.with(key, at),
            None => self,
        }
    }

    fn with_some(self, key: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

fn fact(key: &'static str, value: impl fmt::Display) -> Facts {
    Facts(Vec::new()).with(key, value)
}

fn facts_of(event: &Event) -> Vec<(Fact, bool)> {
    match event {
        Event::LayoutRecorded(b) => fact("layout", b.id.0).with("source", &b.layout.source).with("kind", b.layout.kind),
        Event::EntityChanged(b) => fact("layout", b.record.layout.0).naming("external_id", &b.record.external_id),
        Event::EntityAbsent(b) => fact("intake", b.intake),
        Event::EntityLinked(b) => fact("links", b.links.len()).with_at("at", b.at).with_some("class", b.class.as_ref()),
        Event::IntakeStarted(b) => fact("source", &b.source).with("content", b.content.short()).naming("name", &b.name),
        Event::IntakeCompleted(b) => fact("source", &b.source)
            .with("content", b.content.short())
            .with("end", intake_end(b.end))
            .with("rows", b.rows)
            .with("added", b.added)
            .with("changed", b.changed)
            .with("unchanged", b.unchanged)
            .with("rejected", b.rejected)
            .with("absent", b.absent),
        Event::MailboxRegistered(b) => match b.credential {
            Some(credential) => fact("server", &b.server).with("credential", credential),
            None => fact("server", &b.server),
        },
        Event::MailboxRemoved(b) => Facts(Vec::new()).naming("reason", &b.reason),
        Event::MigrationBatchImported(b) => {
            fact("content", b.content.short()).with("mailboxes", b.mailboxes).with("credentials", b.credentials)
        }
        Event::PermissionObserved(b) => fact("entries", b.entries.len()),
        Event::PermissionsScanned(b) => fact("end", scan_end(b.end))
            .with("code", if b.code.is_empty() { "none" } else { &b.code })
            .with("entries", b.entries)
            .with("full_access", b.full_access)
            .with("parts", b.parts),
        Event::CredentialStored(_)
        | Event::CredentialDestroyed(_)
        | Event::PermissionScanRequested(_)
        | Event::MailboxScanRequested(_) => Facts(Vec::new()),
        Event::MailboxScanned(b) => fact("end", scan_end(b.end))
            .with("code", if b.code.is_empty() { "none" } else { &b.code })
            .with("folders", b.folders)
            .with("messages", b.messages)
            .with("added", b.added)
            .with("changed", b.changed)
            .with("absent", b.absent),
        Event::HoldPlaced(_)
        | Event::HoldsJudged(_)
        | Event::HoldReleased(_)
        | Event::DisposalPaused(_)
        | Event::DisposalResumed(_) => facts_of_hold(event),
        Event::RestrictionPlaced(_)
        | Event::EntitiesRestricted(_)
        | Event::RestrictionLifted(_)
        | Event::SubjectRequested(_)
        | Event::SubjectRequestExtended(_)
        | Event::SubjectIdentified(_)
        | Event::ErasureExcepted(_)
        | Event::ErasureExceptionEnded(_)
        | Event::ErasurePlanRequested(_)
        | Event::ErasureKept(_)
        | Event::SubjectRequestCompleted(_)
        | Event::SubjectPackageMade(_)
        | Event::RecipientTold(_)
        | Event::BundleHandedOver(_) => subject::facts_of(event),
        Event::RecordsOpened(b) => fact("operation", &b.operation).with("entities", b.entities),
        Event::StoreInitialised(b) => fact("store", hex::encode(b.store)).with("program", &b.program),
        Event::DaemonStarted(b) => fact("program", &b.program)
            .with("config", b.config.short())
            .with("after_clean_stop", b.after_clean_stop)
            .with("cut_bytes", b.cut_bytes),
        Event::RolesDeclared(b) => fact("config", b.config.short())
            .with("auditor", &b.auditor)
            .with("operator", &b.operator)
            .with("approver", &b.approver)
            .with("admin", &b.admin),
        Event::DaemonStopped(_) => Facts(Vec::new()),
        Event::ClockJumped(b) => fact("expected_at", b.expected_at).with("seen_at", b.seen_at),
        Event::ClockDoubted(b) => {
            fact("doubt", b.doubt.name()).with("expected_at", b.expected_at).with("seen_at", b.seen_at)
        }
        Event::ClockConfirmed(b) => fact("doubted", b.doubted).naming("reason", &b.reason),
        Event::MigrationRequested(b) => fact("source", b.source)
            .with("target", b.target)
            .with("excluded", b.exclude.len())
            .with("max_bytes", b.max_bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string())),
        Event::MigrationFolderOpened(b) => fact("migration", b.migration).with("folder", b.folder),
        Event::MigrationCopyStarted(b) => {
            fact("migration", b.migration).with("folder", b.folder).with("messages", b.uids.len())
        }
        Event::MigrationCopied(b) => fact("migration", b.migration)
            .with("folder", b.folder)
            .with("messages", b.messages)
            .with("bytes", b.bytes)
            .with("left_out", b.left_out)
            .with("gone", b.gone),
        Event::MigrationFolderVerified(b) => fact("migration", b.migration)
            .with("folder", b.folder)
            .with("messages", b.messages)
            .with("missing", b.missing),
        Event::MigrationFailed(b) => fact("migration", b.migration).with("code", &b.code).with("retry_at", b.retry_at),
        Event::MigrationStopRequested(b) => fact("migration", b.migration).naming("reason", &b.reason),
        Event::MigrationEnded(b) => fact("migration", b.migration)
            .with("end", b.end.name())
            .with("code", if b.code.is_empty() { "none" } else { &b.code }),
        Event::NoticeSent(b) => fact("channel", &b.channel).with("notice", &b.notice),
        Event::NoticeFailed(b) => {
            fact("channel", &b.channel).with("notice", &b.notice).with("tries", b.tries).with("code", &b.code)
        }
        Event::NoticeChannelsDeclared(b) => fact("channels", b.channels.len()),
        Event::NoticeAcknowledged(b) => fact("notices", b.notices.len()).naming("reason", &b.reason),
        Event::BackupMade(b) => {
            fact("last", b.last).with("manifest", b.manifest.short()).with("keys_until", b.keys_until)
        }
        Event::BackupKeysRemoved(b) => fact("last", b.last),
        Event::StoreRestored(b) => fact("last", b.last)
            .with("made_at", b.made_at)
            .with("entities", b.entities)
            .with("destroyed_again", b.destroyed_again)
            .with("ledger_read", b.ledger_read)
            .with("checkpoint", b.checkpoint.map_or_else(|| "none".to_owned(), |size| size.to_string())),
        Event::RestoreConfirmed(b) => fact("restored", b.restored).naming("reason", &b.reason),
        Event::KeyDestroyedAgain(b) => fact("lost", b.lost).with("destroyed_at", b.destroyed_at),
        Event::KeyRotationRequested(b) => fact("keys", b.keys.name()).naming("reason", &b.reason),
        Event::WrappingKeysRotated(b) => fact("slots", b.slots),
        Event::SigningKeyAdopted(b) => fact("verifier_key", &b.verifier_key),
        Event::StoreCompacted(b) => fact("segments", b.segments).with("bodies", b.bodies).with("bytes", b.bytes),
        Event::MonthBegun(b) => fact("begins_at", b.begins_at).with("ends_at", b.ends_at),
        Event::StoreRebuilt(b) => fact("events", b.events).with("code", &b.code),
        Event::PolicySetActivated(b) => fact("set", b.digest.short()).with("policies", b.policies.len()),
        Event::PolicyRecorded(b) => fact("policy", &b.id).with("version", b.digest.short()),
        Event::ScheduleFired(b) => {
            fact("policy", &b.policy).with("nominal_at", b.nominal_at).with("catch_up", b.catch_up)
        }
        Event::ScheduleMissed(b) => {
            fact("policy", &b.policy).with("count", b.count).with("first_at", b.first_at).with("last_at", b.last_at)
        }
        Event::PlanRequested(_)
        | Event::PlanItems(_)
        | Event::PlanFrozen(_)
        | Event::PlanRefused(_)
        | Event::PlanApproved(_)
        | Event::PlanRejected(_)
        | Event::ReviewDecided(_)
        | Event::PlanReviewed(_) => facts_of_plan(event),
        Event::RunRequested(_)
        | Event::RunStarted(_)
        | Event::RunPaused(_)
        | Event::RunResumed(_)
        | Event::RunCancelled(_)
        | Event::RunEnded(_)
        | Event::RunRefused(_) => facts_of_run(event),
        Event::GrantRequested(_)
        | Event::GrantApproved(_)
        | Event::GrantRejected(_)
        | Event::GrantRenewed(_)
        | Event::GrantRevokeRequested(_)
        | Event::GrantFoldersRead(_)
        | Event::GrantStepStarted(_)
        | Event::GrantStepSucceeded(_)
        | Event::GrantStepFailed(_)
        | Event::GrantEnded(_) => grant::facts(event),
        Event::SagaStarted(_)
        | Event::StepStarted(_)
        | Event::StepSucceeded(_)
        | Event::StepFailed(_)
        | Event::ItemsSkipped(_)
        | Event::SagaEnded(_)
        | Event::KeyDestroyed(_)
        | Event::RedactionBegan(_)
        | Event::EntitySucceeded(_)
        | Event::EntityRestored(_)
        | Event::BundleDestructionStarted(_)
        | Event::BundleDestroyed(_) => facts_of_saga(event),
    }
    .0
}

fn facts_of_hold(event: &Event) -> Facts {
    match event {
        Event::HoldPlaced(b) => {
            let mut facts = fact("entities", b.entities.len());
            for (key, count) in [("mailboxes", b.mailboxes.len()), ("policies", b.policies.len())] {
                facts = if count > 0 { facts.with(key, count) } else { facts };
            }
            let facts = if b.standing.is_some() { facts.with("standing", true) } else { facts };
            let facts = if b.filter.is_empty() { facts } else { facts.with("filter", true) };
            let facts = facts.with_at("review_at", b.review_at).naming("name", &b.name).naming("reason", &b.reason);
            let named = [("owner", &b.owner), ("reference", &b.reference)];
            named.into_iter().filter(|(_, text)| !text.is_empty()).fold(facts, |f, (key, text)| f.naming(key, text))
        }
        Event::HoldsJudged(b) => {
            let sum = |of: fn(&HoldJudgement) -> usize| b.holds.iter().map(of).sum::<usize>();
            let (caught, unreadable) = (sum(|hold| hold.caught.len()), sum(|hold| hold.unreadable.len()));
            fact("holds", b.holds.len()).with("caught", caught).with("unreadable", unreadable)
        }
        Event::HoldReleased(b) => {
            let until = Some(b.until).filter(|until| *until > Timestamp(i64::MIN));
            fact("hold", b.hold).with_at("until", until).naming("reason", &b.reason)
        }
        Event::DisposalPaused(b) => fact("scope", &b.scope).naming("reason", &b.reason),
        Event::DisposalResumed(b) => fact("scope", &b.scope).naming("reason", &b.reason),
        _ => Facts(Vec::new()),
    }
}

fn facts_of_plan(event: &Event) -> Facts {
    match event {
        Event::PlanRequested(b) => {
            fact("policy", &b.policy).with("purpose", purpose(b.purpose)).with_at("as_of", b.as_of)
        }
        Event::PlanItems(b) => fact("plan", b.plan).with("chunk", b.chunk).with("items", b.items.len()),
        Event::PlanFrozen(b) => fact("plan", b.plan)
            .with("policy", &b.policy)
            .with("purpose", purpose(b.purpose))
            .with("items", b.items)
            .with("population", b.population)
            .with("kept", b.kept.iter().map(|kept| kept.count).sum::<u64>())
            .with("tripped", b.tripped.len())
            .with("digest", b.digest.short()),
        Event::PlanRefused(b) => fact("plan", b.plan).with("code", &b.code),
        Event::PlanApproved(b) => fact("plan", b.plan).with("digest", b.digest.short()).naming("comment", &b.comment),
        Event::PlanRejected(b) => fact("plan", b.plan).with("digest", b.digest.short()).naming("comment", &b.comment),
        Event::ReviewDecided(b) => {
            let facts = fact("policy", &b.policy).with("version", b.policy_digest.short()).with("items", b.items.len());
            match b.verdict {
                ReviewVerdict::Dispose => facts.with("verdict", "dispose"),
                ReviewVerdict::Keep { until } => facts.with("verdict", "keep").with("until", until),
            }
            .naming("reason", &b.reason)
        }
        Event::PlanReviewed(b) => {
            let reviews: Vec<String> = b.reviews.iter().map(ToString::to_string).collect();
            fact("plan", b.plan).with("reviews", reviews.join(","))
        }
        _ => Facts(Vec::new()),
    }
}

fn facts_of_run(event: &Event) -> Facts {
    match event {
        Event::RunRequested(b) => fact("plan", b.plan).with("digest", b.digest.short()),
        Event::RunStarted(b) => fact("run", b.run).with("plan", b.plan).with("items", b.items),
        Event::RunPaused(b) => fact("run", b.run).naming("reason", &b.reason),
        Event::RunResumed(b) => fact("run", b.run).naming("reason", &b.reason),
        Event::RunCancelled(b) => fact("run", b.run).naming("reason", &b.reason),
        Event::RunEnded(b) => {
            fact("run", b.run).with("end", b.end.name()).with("purged", b.purged).with("skipped", b.skipped)
        }
        Event::RunRefused(b) => fact("run", b.run).with("plan", b.plan).with("code", &b.code),
        _ => Facts(Vec::new()),
    }
}

fn facts_of_saga(event: &Event) -> Facts {
    match event {
        Event::SagaStarted(b) => {
            let facts = fact("run", b.run).with("items", b.items.len());
            match b.mailbox {
                Some(mailbox) => facts.with("mailbox", mailbox),
                None => facts,
            }
        }
        Event::StepStarted(b) => {
            fact("saga", b.saga).with("step", b.step.name()).with("attempt", b.attempt).with("items", b.items.len())
        }
        Event::StepSucceeded(b) => {
            let facts = fact("saga", b.saga).with("step", b.step.name()).with("compensation", b.compensation);
            with_receipt(facts, &b.receipt)
        }
        Event::StepFailed(b) => {
            use super::saga::Failure;
            let failure = match b.failure {
                Failure::Refused => "refused",
                Failure::Unknown => "unknown",
            };
            fact("saga", b.saga)
                .with("step", b.step.name())
                .with("attempt", b.attempt)
                .with("failure", failure)
                .with("code", &b.code)
                .with_at("retry_at", b.retry_at)
        }
        Event::ItemsSkipped(b) => by_reason(fact("saga", b.saga).with("items", b.items.len()), &b.items),
        Event::SagaEnded(b) => fact("saga", b.saga).with("end", b.end.name()).with("purged", b.purged),
        Event::KeyDestroyed(b) => fact("run", b.run).with("saga", b.saga).with("item", b.item),
        Event::RedactionBegan(b) => fact("saga", b.saga)
            .with("policy", &b.policy)
            .with("version", b.policy_digest.short())
            .with("fields", b.fields.iter().filter(|(_, treatment)| **treatment != Treatment::Kept).count()),
        Event::EntitySucceeded(b) => fact("saga", b.saga).with("item", b.item).with("left_of", b.of),
        Event::EntityRestored(b) => fact("saga", b.saga).naming("reason", &b.reason),
        Event::BundleDestructionStarted(b) => {
            let facts = fact("saga", b.saga).with("manifest", b.manifest);
            b.request.into_iter().fold(facts, |facts, request| facts.with("request", request))
        }
        Event::BundleDestroyed(b) => {
            let facts = fact("saga", b.saga).with("manifest", b.manifest).with("was_there", b.was_there);
            b.request.into_iter().fold(facts, |facts, request| facts.with("request", request))
        }
        _ => Facts(Vec::new()),
    }
}

fn with_receipt(facts: Facts, receipt: &Receipt) -> Facts {
    match receipt {
        Receipt::Exported { manifest, exported_at, items, bytes } => facts
            .with("items", items)
            .with("bytes", bytes)
            .with("manifest", manifest.short())
            .with("exported_at", exported_at),
        Receipt::ExportVerified { manifest, items } => facts.with("items", items).with("manifest", manifest.short()),
        Receipt::Quarantined { until, items } => facts.with("items", items).with("until", until),
        Receipt::Purged { items }
        | Receipt::Absent { items }
        | Receipt::Expunged { items }
        | Receipt::Redacted { items }
        | Receipt::Restricted { items } => facts.with("items", items),
        Receipt::AbsentFromServer { items, residue } => {
            let residue: Vec<&str> = residue.iter().map(|residue| residue.name()).collect();
            facts.with("items", items).with("residue", residue.join(","))
        }
        Receipt::Undone => facts,
    }
}

fn intake_end(end: super::change::IntakeEnd) -> &'static str {
    use super::change::IntakeEnd;
    match end {
        IntakeEnd::Done => "done",
        IntakeEnd::DoneWithRejects => "done_with_rejects",
        IntakeEnd::Rejected => "rejected",
        IntakeEnd::Duplicate => "duplicate",
    }
}

fn scan_end(end: super::change::ScanEnd) -> &'static str {
    use super::change::ScanEnd;
    match end {
        ScanEnd::Done => "done",
        ScanEnd::Failed => "failed",
    }
}

fn purpose(purpose: super::decision::PlanPurpose) -> &'static str {
    use super::decision::PlanPurpose;
    match purpose {
        PlanPurpose::Run => "run",
        PlanPurpose::Preview => "preview",
    }
}

/// So many items are named for each reason why they are left alone; the rest is counted.
const NAMED_MAX: usize = 20;

fn by_reason(facts: Facts, items: &[(EntityId, SkipReason)]) -> Facts {
    let mut by_reason: BTreeMap<SkipReason, Vec<EntityId>> = BTreeMap::new();
    for (entity, reason) in items {
        by_reason.entry(*reason).or_default().push(*entity);
    }
    by_reason.into_iter().fold(facts, |facts, (reason, entities)| {
        let named = entities.iter().take(NAMED_MAX).map(ToString::to_string);
        let rest = entities.len().saturating_sub(NAMED_MAX);
        let rest = (rest > 0).then(|| format!("+{rest}"));
        facts.with(reason.name(), named.chain(rest).collect::<Vec<_>>().join(","))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::erasure::KeyDestroyed;
    use crate::event::saga::ItemsSkipped;
    use crate::event::{Actor, Envelope};
    use crate::id::{Digest, Position, RunId, SagaId, StreamId};

    fn recorded(event: Event, entity: Option<EntityId>, sealed: bool) -> Recorded {
        let envelope = Envelope {
            event_type: event.event_type() as u16,
            schema: 1,
            sealed,
            position: Position(12),
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            stream: StreamId([0; 16]),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity,
            texts: None,
            body_len: 0,
            body_digest: Digest([0; 32]),
        };
        Recorded { envelope, event: Readable::Event(Box::new(event)) }
    }

    fn hold() -> Recorded {
        let (name, reason) = ("case".into(), "she\nsaid \"no\"".into());
        let body = crate::event::hold::v1::HoldPlaced { name, reason, entities: vec![EntityId(3)] };
        recorded(Event::HoldPlaced(body.into()), None, true)
    }

    #[test]
    fn a_sealed_body_names_nobody_until_it_may_be_opened() {
        let closed = StoryLine::of(&hold(), Disclosure::Nameless).to_string();
        assert_eq!(closed, "12 HoldPlaced by daemon entities=1 body=sealed");
        let opened = StoryLine::of(&hold(), Disclosure::Opened).to_string();
        assert_eq!(opened, "12 HoldPlaced by daemon entities=1 name=case reason=\"she\\nsaid \\\"no\\\"\"");
    }

    #[test]
    fn a_public_body_tells_its_names_and_counts() {
        let body = KeyDestroyed { run: RunId(Position(7)), saga: SagaId(Position(9)), item: 4 };
        let line = recorded(Event::KeyDestroyed(body), Some(EntityId(3)), false);
        let line = StoryLine::of(&line, Disclosure::Nameless).to_string();
        assert_eq!(line, "12 KeyDestroyed E3 by daemon run=R7 saga=S9 item=4");
    }

    #[test]
    fn what_was_left_alone_is_named_by_its_reason_and_beyond_a_few_counted() {
        let mut items = vec![(EntityId(9), SkipReason::Restricted), (EntityId(4), SkipReason::Held)];
        let told = |items: &[(EntityId, SkipReason)]| {
            let body = ItemsSkipped { saga: SagaId(Position(9)), items: items.to_vec() };
            StoryLine::of(&recorded(Event::ItemsSkipped(body), None, false), Disclosure::Nameless).to_string()
        };
        assert_eq!(told(&items), "12 ItemsSkipped by daemon saga=S9 items=2 held=E4 restricted=E9");
        items.extend((100..121).map(|number| (EntityId(number), SkipReason::Changed)));
        let line = told(&items);
        assert!(line.contains(" items=23 changed=E100,") && line.contains(",E119,+1 held=E4 "), "{line}");
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        let mut gone = hold();
        gone.event = Readable::Gone;
        assert_eq!(describe(&gone, Disclosure::Opened), [("body", "gone".to_owned())]);
        gone.event = Readable::Unknown;
        gone.envelope.event_type = 9_999;
        assert_eq!(StoryLine::of(&gone, Disclosure::Nameless).to_string(), "12 Unknown(9999) by daemon body=unknown");
    }
}
