//! What events of data subjects and of restrictions say.

use super::{Facts, fact};
use crate::event::Event;

/// Returns nothing for events of other families.
pub(super) fn facts_of(event: &Event) -> Facts {
    match event {
        Event::RestrictionPlaced(b) => {
            let facts = fact("entities", b.entities.len()).with("ground", b.ground.name());
            let facts = b.request.into_iter().fold(facts, |facts, request| facts.with("request", request));
            facts.naming("reason", &b.reason)
        }
        Event::EntitiesRestricted(b) => fact("entities", b.entities.len())
            .with("saga", b.saga)
            .with("policy", &b.policy)
            .with("version", b.policy_digest.short()),
        Event::RestrictionLifted(b) => {
            let facts = fact("restriction", b.restriction);
            let facts = if b.entities.is_empty() { facts } else { facts.with("entities", b.entities.len()) };
            facts.naming("reason", &b.reason)
        }
        Event::SubjectRequested(b) => {
            let facts = fact("kind", b.kind.name());
            let facts = b.ground.into_iter().fold(facts, |facts, ground| facts.with("ground", ground.name()));
            let facts = facts.with("received_at", b.received_at).with("due_at", b.due_at);
            let reference = Some(&b.reference).filter(|text| !text.is_empty());
            reference.into_iter().fold(facts, |facts, text| facts.naming("reference", text))
        }
        Event::SubjectRequestExtended(b) => {
            fact("request", b.request).with("due_at", b.due_at).naming("reason", &b.reason)
        }
        Event::SubjectIdentified(b) => {
            fact("request", b.request).with("records", b.records.len()).naming("how", &b.how)
        }
        Event::ErasureExcepted(b) => fact("request", b.request)
            .with("records", b.records.len())
            .with("exception", b.exception.name())
            .with("review_at", b.review_at)
            .naming("owner", &b.owner)
            .naming("reason", &b.reason),
        Event::ErasureExceptionEnded(b) => {
            fact("request", b.request).with("exception", b.exception).naming("reason", &b.reason)
        }
        Event::ErasurePlanRequested(b) => fact("request", b.request),
        Event::ErasureKept(b) => fact("request", b.request).with("plan", b.plan).with("records", b.records.len()),
        Event::SubjectRequestCompleted(b) => {
            fact("request", b.request).with("end", b.end.name()).naming("reason", &b.reason)
        }
        Event::SubjectPackageMade(b) => fact("request", b.request)
            .with("records", b.records)
            .with("digest", b.digest)
            .with("bytes", b.bytes)
            .with("recipients", b.recipients)
            .with("texts", b.texts)
            .with("missing", b.missing.len()),
        Event::RecipientTold(b) => fact("request", b.request).with("recipient", b.recipient).naming("how", &b.how),
        Event::BundleHandedOver(b) => {
            fact("saga", b.saga).with("manifest", b.manifest).naming("to", &b.to).naming("reason", &b.reason)
        }
        _ => Facts(Vec::new()),
    }
}
