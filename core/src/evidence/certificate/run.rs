//! What follows from the events of one run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::copies::{Bundle, Copies, Recipient, recipients};
use super::{Approval, CertificateError, Told};
use crate::event::grant::{GrantReceipt, OpenSessions};
use crate::event::saga::{Receipt, Residue, SagaEnd};
use crate::event::{Event, EventType};
use crate::id::{Digest, EntityId, GrantId, PlanId, ReviewId, RunId, SagaId};
use crate::time::Timestamp;

/// What one saga did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disposed {
    /// SHA-256 of the manifest of the export bundle.
    pub manifest: Option<Digest>,
    /// The instant in the name of the bundle.
    pub exported_at: Option<Timestamp>,
    /// How many items were read back from disk and compared.
    pub verified: u64,
    /// How many keys were destroyed, read back and recorded.
    pub destroyed: u64,
    /// Of how many of them something is left: a redaction recorded it anew before the old key went.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub redacted: u64,
    /// Of how many the use ended, with nothing of them gone.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub restricted: u64,
    /// How many messages were removed from their server.
    pub expunged: u64,
    /// How many were looked for afterwards and not found.
    pub absent: u64,
    /// What a mail server may keep all the same.
    pub residue: Vec<Residue>,
    /// How it ended: `completed`, `compensated` or `stuck`.
    pub end: Option<String>,
}

/// The access that a run had to a mailbox, as far as its events tell. Which mailbox and whose access, sealed events say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accessed {
    /// When the rights had been given and read back.
    pub given_at: Option<Timestamp>,
    /// On how many folders.
    pub folders: u32,
    /// When nothing of it was left, seen through a new login.
    pub gone_at: Option<Timestamp>,
    /// What became of the sessions that were open then.
    pub sessions: Option<OpenSessions>,
    /// How it ended: `revoked`, `handed_over`, `not_given`, `withdrawn`, `rejected` or `expired`; nothing when it is not over.
    pub end: Option<String>,
}

/// A certificate of a run that redacted, or restricted, nothing does not speak of it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

/// What a run did, or what it did with one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStatement {
    /// The policy by which it was to go.
    pub policy: String,
    /// SHA-256 of that policy's canonical form.
    pub policy_digest: Digest,
    /// The plan.
    pub plan: PlanId,
    /// SHA-256 that names exactly what was planned.
    pub plan_digest: Digest,
    /// The instant that it was judged for.
    pub judged_at: Timestamp,
    /// How many items were planned.
    pub planned: u64,
    /// Whether an approval was needed.
    pub needs_approval: bool,
    /// Who approved the plan.
    pub approvals: Vec<Approval>,
    /// Who decided that items of the plan are disposed of, where the policy asks a person first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Approval>,
    /// The run.
    pub run: RunId,
    /// Who asked for it.
    pub run_requested_by: String,
    /// How it ended: `completed`, `cancelled` or `stuck`; nothing when it is not over.
    pub run_end: Option<String>,
    /// How many items it purged.
    pub purged: u64,
    /// How many it left alone.
    pub left_alone: u64,
    /// What its sagas did; of an entity, the one saga.
    pub sagas: BTreeMap<SagaId, Disposed>,
    /// The access to mailboxes that it took for its work; of an entity, to its mailbox while its saga worked there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub access: BTreeMap<GrantId, Accessed>,
    /// When the key of the entity was destroyed, for a certificate of one.
    pub destroyed_at: Option<Timestamp>,
    /// Until when copies of the keys from before may be kept, as far as backups were made by the daemon.
    pub copies_of_keys_until: Option<Timestamp>,
    /// The bundles of its sagas of which events say more than that they were written: that they are destroyed, that
    /// somebody got a copy, or that they go with the answer to a request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<SagaId, Copies>,
    /// Who got copies of its bundles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
}

impl RunStatement {
    /// Makes the statement about a whole run.
    ///
    /// # Errors
    /// When the events do not tell who decided, who ran, and what was destroyed; or tell of several.
    pub(super) fn of_run(run: RunId, told: &[Told]) -> Result<Self, CertificateError> {
        Self::of(run, None, told)
    }

    /// Returns it as a part of the statement of a request, which tells of all bundles itself.
    pub(super) fn within_request(self) -> Self {
        Self { copies: BTreeMap::new(), recipients: Vec::new(), ..self }
    }

    /// Makes the statement about one entity of the run that destroyed its key.
    ///
    /// # Errors
    /// As [`Self::of_run`].
    pub(super) fn of_entity(entity: EntityId, told: &[Told]) -> Result<Self, CertificateError> {
        let destroyed = told.iter().find_map(|(envelope, event)| match event {
            Some(Event::KeyDestroyed(body)) => Some((envelope, body)),
            _ => None,
        });
        match destroyed {
            Some((envelope, body)) if envelope.entity == Some(entity) => {
                Self::of(body.run, Some((body.saga, envelope.recorded_at)), told)
            }
            _ => Err(CertificateError::Incomplete),
        }
    }

    /// Sealed events have no body: their type, actor, time and cause count.
    fn of(run: RunId, entity: Option<(SagaId, Timestamp)>, told: &[Told]) -> Result<Self, CertificateError> {
        let incomplete = || CertificateError::Incomplete;
        let events = || told.iter().filter_map(|(envelope, event)| Some((envelope, event.as_ref()?)));
        let (saga_of_entity, destroyed_at) = entity.unzip();
        let requested = events()
            .find(|(envelope, event)| matches!(event, Event::RunRequested(_)) && RunId(envelope.position) == run);
        let (requested, Event::RunRequested(request)) = requested.ok_or_else(incomplete)? else {
            return Err(incomplete());
        };
        let frozen = events().find_map(|(_, event)| match event {
            Event::PlanFrozen(body) if body.plan == request.plan && body.digest == request.digest => Some(body),
            _ => None,
        });
        let frozen = frozen.ok_or_else(incomplete)?;
        let approval = EventType::PlanApproved as u16;
        let approvals = told.iter().filter(|(envelope, _)| {
            envelope.event_type == approval
                && envelope.cause == request.plan.0
                && envelope.position < requested.position
        });
        let approvals = approvals
            .map(|(envelope, _)| Approval { by: envelope.actor.to_string(), at: envelope.recorded_at })
            .collect();
        let rests = events().filter_map(|(_, event)| match event {
            Event::PlanReviewed(body) if body.plan == request.plan => Some(&body.reviews),
            _ => None,
        });
        let mut reviews = Vec::new();
        // The newest, if there are several.
        if let Some(named) = rests.fold(None, |_, named| Some(named)) {
            let review = EventType::ReviewDecided as u16;
            let decided = told
                .iter()
                .map(|(envelope, _)| envelope)
                .filter(|envelope| envelope.event_type == review && named.contains(&ReviewId(envelope.position)));
            reviews
                .extend(decided.map(|envelope| Approval { by: envelope.actor.to_string(), at: envelope.recorded_at }));
            if reviews.len() != named.len() {
                return Err(incomplete());
            }
        }
        let ended = events().find_map(|(_, event)| match event {
            Event::RunEnded(body) if body.run == run => Some(body),
            _ => None,
        });
        // The body of a `SagaStarted` lists its items; that it is of this run, its cause says.
        let started = told
            .iter()
            .filter(|(envelope, _)| envelope.event_type == EventType::SagaStarted as u16 && envelope.cause == run.0);
        let begun: BTreeSet<SagaId> = started.map(|(envelope, _)| SagaId(envelope.position)).collect();
        let mut sagas: BTreeMap<SagaId, Disposed> = begun
            .iter()
            .copied()
            .filter(|saga| saga_of_entity.is_none_or(|of| of == *saga))
            .map(|saga| (saga, Disposed::default()))
            .collect();
        for (_, event) in events() {
            match event {
                Event::StepSucceeded(body) if !body.compensation => {
                    if let Some(saga) = sagas.get_mut(&body.saga) {
                        saga.take(&body.receipt);
                    }
                }
                Event::SagaEnded(body) => {
                    if let Some(saga) = sagas.get_mut(&body.saga) {
                        saga.end = Some(body.end.name().to_owned());
                    }
                }
                _ => {}
            }
        }
        if sagas.is_empty() {
            return Err(incomplete());
        }
        // The lease under which an item was worked on may have been asked for by the saga before.
        let access = accessed(&begun, told);
        let copies_of_keys_until = copies_of_keys_until(told);
        let recipients = recipients(|saga| sagas.contains_key(&saga), |_| None, told);
        let copies = copies(request.plan, &sagas, &recipients, saga_of_entity.is_some(), told);
        Ok(Self {
            policy: frozen.policy.clone(),
            policy_digest: frozen.policy_digest,
            plan: request.plan,
            plan_digest: frozen.digest,
            judged_at: frozen.as_of,
            planned: frozen.items,
            needs_approval: frozen.needs_approval || !frozen.tripped.is_empty(),
            approvals,
            reviews,
            run,
            run_requested_by: requested.actor.to_string(),
            run_end: ended.map(|body| body.end.name().to_owned()),
            purged: ended.map_or(0, |body| body.purged),
            left_alone: ended.map_or(0, |body| body.skipped),
            sagas,
            access,
            destroyed_at,
            copies_of_keys_until,
            copies,
            recipients,
        })
    }
}

/// Gathers the bundles of sagas of which events say more than that they were written. Before there was such an event in a
/// certificate of a run, the statement had none of this, and it must come out the same.
fn copies(
    plan: PlanId,
    sagas: &BTreeMap<SagaId, Disposed>,
    recipients: &[Recipient],
    of_one_entity: bool,
    told: &[Told],
) -> BTreeMap<SagaId, Copies> {
    let goes_with_the_answer = told.iter().any(|(envelope, event)| {
        PlanId(envelope.position) == plan && matches!(event, Some(Event::ErasurePlanRequested(_)))
    });
    let mut copies = BTreeMap::new();
    for bundle in sagas.keys().filter_map(|saga| Bundle::of(*saga, told)) {
        let records = if of_one_entity { 1 } else { bundle.items };
        let of_bundle = bundle.copies(records, goes_with_the_answer, told);
        let is_handed_over = recipients.iter().any(|recipient| recipient.saga == bundle.saga);
        if goes_with_the_answer || is_handed_over || of_bundle.destroyed_at.is_some() {
            copies.insert(bundle.saga, of_bundle);
        }
    }
    copies
}

/// Gathers the access that the sagas of a run took. That a grant is of one of them, its cause says.
fn accessed(sagas: &BTreeSet<SagaId>, told: &[Told]) -> BTreeMap<GrantId, Accessed> {
    let asked = told.iter().map(|(envelope, _)| envelope).filter(|envelope| {
        envelope.event_type == EventType::GrantRequested as u16 && sagas.contains(&SagaId(envelope.cause))
    });
    let mut access: BTreeMap<GrantId, Accessed> =
        asked.map(|envelope| (GrantId(envelope.position), Accessed::default())).collect();
    for (envelope, event) in told {
        match event {
            Some(Event::GrantStepSucceeded(body)) => {
                let Some(grant) = access.get_mut(&body.grant) else { continue };
                match &body.receipt {
                    GrantReceipt::Given { folders, .. } => {
                        (grant.given_at, grant.folders) = (Some(envelope.recorded_at), *folders);
                    }
                    GrantReceipt::VerifiedGone { sessions, .. } => {
                        (grant.gone_at, grant.sessions) = (Some(envelope.recorded_at), Some(*sessions));
                    }
                    GrantReceipt::Read { .. } | GrantReceipt::Revoked { .. } => {}
                }
            }
            Some(Event::GrantEnded(body)) => {
                if let Some(grant) = access.get_mut(&body.grant) {
                    grant.end = Some(body.end.name().to_owned());
                }
            }
            _ => {}
        }
    }
    access
}

impl Disposed {
    /// Returns the bundle that it wrote and did not take back: its manifest, and the instant in its name.
    #[must_use]
    pub fn bundle(&self) -> Option<(Digest, Timestamp)> {
        let took_it_back = self.end.as_deref() == Some(SagaEnd::Compensated.name());
        self.manifest.zip(self.exported_at).filter(|_| !took_it_back)
    }

    pub(super) fn take(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Exported { manifest, exported_at, .. } => {
                (self.manifest, self.exported_at) = (Some(*manifest), Some(*exported_at));
            }
            Receipt::ExportVerified { items, .. } => self.verified = *items,
            Receipt::Purged { items } => self.destroyed = *items,
            Receipt::Expunged { items } => self.expunged = *items,
            Receipt::Absent { items } => self.absent = *items,
            Receipt::AbsentFromServer { items, residue } => {
                (self.absent, self.residue) = (*items, residue.clone());
            }
            Receipt::Redacted { items } => self.redacted = *items,
            Receipt::Restricted { items } => self.restricted = *items,
            Receipt::Quarantined { .. } | Receipt::Undone => {}
        }
    }
}

/// Returns until when copies of the keys may be kept, of the backups that are told of.
pub(super) fn copies_of_keys_until(told: &[Told]) -> Option<Timestamp> {
    let backups = told.iter().filter_map(|(_, event)| match event {
        Some(Event::BackupMade(body)) => Some(body.keys_until),
        _ => None,
    });
    backups.max()
}

/// Says which events belong into the certificate of a run, of all that its index has.
#[must_use]
pub fn belongs(event: &Event) -> bool {
    matches!(
        event,
        Event::RunRequested(_)
            | Event::RunStarted(_)
            | Event::RunEnded(_)
            | Event::SagaStarted(_)
            | Event::StepSucceeded(_)
            | Event::SagaEnded(_)
            | Event::GrantRequested(_)
            | Event::GrantStepSucceeded(_)
            | Event::GrantEnded(_)
    )
}
