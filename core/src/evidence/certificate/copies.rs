//! Where copies are of what was destroyed: the bundles that were written before, and who got one.

use serde::{Deserialize, Serialize};

use super::Told;
use crate::event::saga::{Receipt, Step};
use crate::event::{Envelope, Event, EventType};
use crate::id::{Digest, Position, SagaId};
use crate::time::Timestamp;

/// A bundle that has, or had, copies of records that a certificate is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// The instant in its name.
    pub exported_at: Timestamp,
    /// How many of the records are in it.
    pub records: u64,
    /// Whether a run of the request wrote it: then it goes with the answer. The others stay as long as their policies
    /// keep them.
    pub goes_with_the_answer: bool,
    /// When it was destroyed, or was to be.
    pub destroyed_at: Option<Timestamp>,
    /// Whether it was where it should have been then: otherwise nobody here knows where it is.
    pub was_there: Option<bool>,
}

/// Somebody who got a copy of such a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The recipient: where it stands in the log that they got it. Who they are is sealed.
    pub recipient: Position,
    /// The saga that wrote the bundle.
    pub saga: SagaId,
    /// Who gave it away.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When their channel last took a notice of what became of the records; nobody is told of what a policy disposed of.
    pub told_at: Option<Timestamp>,
}

/// The bundle that a saga wrote, and did not take back before anybody got a copy.
pub(super) struct Bundle {
    pub(super) saga: SagaId,
    manifest: Digest,
    exported_at: Timestamp,
    /// How many items are in it.
    pub(super) items: u64,
    /// When the saga took it back: the copies that people got are theirs still.
    taken_back_at: Option<Timestamp>,
}

impl Bundle {
    pub(super) fn of(saga: SagaId, told: &[Told]) -> Option<Self> {
        let is_given = told.iter().any(|(envelope, _)| is_handed_over(envelope) && SagaId(envelope.cause) == saga);
        let mut bundle: Option<Self> = None;
        for (envelope, event) in told {
            let Some(Event::StepSucceeded(body)) = event else { continue };
            if body.saga != saga || body.step != Step::Export {
                continue;
            }
            bundle = match body.receipt {
                Receipt::Exported { manifest, exported_at, items, .. } if !body.compensation => {
                    Some(Self { saga, manifest, exported_at, items, taken_back_at: None })
                }
                _ => bundle
                    .filter(|_| is_given)
                    .map(|bundle| Self { taken_back_at: Some(envelope.recorded_at), ..bundle }),
            };
        }
        bundle
    }

    /// Says what became of it, with how many of its records are meant.
    pub(super) fn copies(&self, records: u64, goes_with_the_answer: bool, told: &[Told]) -> Copies {
        let gone = told.iter().find_map(|(envelope, event)| match event {
            Some(Event::BundleDestroyed(body)) if body.saga == self.saga => {
                Some((envelope.recorded_at, body.was_there))
            }
            _ => None,
        });
        let (destroyed_at, was_there) = gone.unzip();
        let destroyed_at = destroyed_at.or(self.taken_back_at);
        let (manifest, exported_at) = (self.manifest, self.exported_at);
        Copies { manifest, exported_at, records, goes_with_the_answer, destroyed_at, was_there }
    }
}

fn is_handed_over(envelope: &Envelope) -> bool {
    envelope.event_type == EventType::BundleHandedOver as u16
}

/// Returns who got a copy of the bundles of some sagas.
pub(super) fn recipients(
    is_meant: impl Fn(SagaId) -> bool,
    told_at: impl Fn(Position) -> Option<Timestamp>,
    told: &[Told],
) -> Vec<Recipient> {
    let handed = told
        .iter()
        .map(|(envelope, _)| envelope)
        .filter(|envelope| is_handed_over(envelope) && is_meant(SagaId(envelope.cause)));
    handed
        .map(|envelope| Recipient {
            recipient: envelope.position,
            saga: SagaId(envelope.cause),
            by: envelope.actor.to_string(),
            at: envelope.recorded_at,
            told_at: told_at(envelope.position),
        })
        .collect()
}
