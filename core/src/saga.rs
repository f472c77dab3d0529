//! Sagas: what comes next, for normal driving and for recovery alike.
//!
//! A script is compensable steps, then the pivot, then retriable steps. [`next`] looks at what the log says of a saga
//! and answers with one thing to do. After a crash the very same function is asked; there is no second engine.

use std::time::Duration;

use crate::event::saga::{Failure, SagaEnd, ScriptKind, Step};
use crate::id::{Digest, SagaId};
use crate::time::{Timestamp, is_over};
use crate::view::{Saga, StepStanding};

/// The version of the export-purge script that new sagas begin with.
pub const EXPORT_PURGE_VERSION: u16 = 1;

/// The version of the message-purge script that new sagas begin with.
pub const MESSAGE_PURGE_VERSION: u16 = 1;

/// The version of the export-redact script that new sagas begin with.
pub const EXPORT_REDACT_VERSION: u16 = 1;

/// The version of the restriction script that new sagas begin with.
pub const RESTRICT_VERSION: u16 = 1;

/// How often a step before the pivot is tried before everything is undone.
pub const ATTEMPTS_BEFORE_PIVOT_MAX: u32 = 5;

/// The longest pause between two attempts, in milliseconds.
const BACKOFF_MS_MAX: u64 = 15 * 60 * 1_000;

const BACKOFF_MS_FIRST: u64 = 1_000;

/// The longest wait before the next attempt, in microseconds: an hour, which is more than the pauses, and more than what any
/// target asks for. A later instant is that of a clock that was ahead, and nobody waits until the right one has caught up.
const WAIT_US_MAX: i64 = 60 * 60 * 1_000_000;

/// How long to wait at least with a probe after an effect, or a probe, whose end nobody knows.
const PROBE_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// A fixed list of steps.
///
/// **Invariant:** the order of the three groups is part of the type: nothing compensable can follow the pivot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Steps whose effects can be undone.
    pub compensable: &'static [Step],
    /// The point of no return.
    pub pivot: Step,
    /// Steps that are repeated until they succeed.
    pub retriable: &'static [Step],
}

impl Script {
    /// Returns all steps, in their order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = Step> {
        self.compensable.iter().copied().chain(std::iter::once(self.pivot)).chain(self.retriable.iter().copied())
    }
}

/// Export, verify, quarantine → purge → verify absence.
const EXPORT_PURGE: Script = Script {
    compensable: &[Step::Export, Step::VerifyExport, Step::Quarantine],
    pivot: Step::Purge,
    retriable: &[Step::VerifyAbsence],
};

/// Export, verify, quarantine → expunge on the server → verify absence, destroy the keys.
const MESSAGE_PURGE: Script = Script {
    compensable: &[Step::Export, Step::VerifyExport, Step::Quarantine],
    pivot: Step::Expunge,
    retriable: &[Step::VerifyAbsence, Step::DestroyKeys],
};

/// Export, verify, quarantine → record what is left → destroy the keys, verify absence.
const EXPORT_REDACT: Script = Script {
    compensable: &[Step::Export, Step::VerifyExport, Step::Quarantine],
    pivot: Step::Redact,
    retriable: &[Step::DestroyKeys, Step::VerifyAbsence],
};

/// Restrict. Nothing is lost by it, so nothing is exported, hidden or looked for.
const RESTRICT: Script = Script { compensable: &[], pivot: Step::Restrict, retriable: &[] };

/// Returns the script of a kind and version; `None` for a version that this program does not know.
#[must_use]
pub fn script(kind: ScriptKind, version: u16) -> Option<Script> {
    match (kind, version) {
        (ScriptKind::ExportPurge, EXPORT_PURGE_VERSION) => Some(EXPORT_PURGE),
        (ScriptKind::MessagePurge, MESSAGE_PURGE_VERSION) => Some(MESSAGE_PURGE),
        (ScriptKind::ExportRedact, EXPORT_REDACT_VERSION) => Some(EXPORT_REDACT),
        (ScriptKind::Restrict, RESTRICT_VERSION) => Some(RESTRICT),
        (ScriptKind::ExportPurge | ScriptKind::MessagePurge | ScriptKind::ExportRedact | ScriptKind::Restrict, _) => {
            None
        }
    }
}

/// What an operator wants of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To go on.
    GoOn,
    /// To wait before the next step; what is past the pivot is finished.
    Pause,
    /// To undo what can be undone.
    Cancel,
}

/// The one thing to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Record the intent of this attempt, then apply the effect.
    Start {
        /// The step.
        step: Step,
        /// Which attempt.
        attempt: u32,
    },
    /// Ask the target whether the effect of the step happened.
    Probe {
        /// The step.
        step: Step,
        /// Which attempt.
        attempt: u32,
    },
    /// Undo the effect of the step.
    Compensate {
        /// The step.
        step: Step,
    },
    /// Nothing before then.
    WaitUntil(Timestamp),
    /// Nothing until an operator says so.
    WaitForOperator,
    /// Record the end.
    End(SagaEnd),
}

/// Returns the one thing to do next with a saga.
#[must_use]
pub fn next(saga: &Saga, wish: Wish, now: Timestamp) -> Next {
    let Some(script) = script(saga.started.script, saga.started.script_version) else {
        return Next::End(SagaEnd::Stuck);
    };
    if saga.is_inconsistent {
        return Next::End(SagaEnd::Stuck);
    }
    if saga.is_past_pivot() {
        return after_pivot(saga, script, now);
    }
    let is_empty = saga.open_items().next().is_none();
    if wish == Wish::Cancel || is_empty || saga.gave_up || is_undoing(saga, script) {
        return undo(saga, script);
    }
    for &step in script.compensable {
        match forward(saga, step, now) {
            Some(Next::Start { .. }) if wish == Wish::Pause => return Next::WaitForOperator,
            Some(next) => return next,
            None => {}
        }
    }
    match (wish, saga.quarantine_until()) {
        (Wish::Pause, _) => Next::WaitForOperator,
        (_, Some(until)) if now < until => Next::WaitUntil(until),
        _ => Next::Start { step: script.pivot, attempt: 1 },
    }
}

/// What a step itself asks for; `None` when it is done.
fn forward(saga: &Saga, step: Step, now: Timestamp) -> Option<Next> {
    match saga.step(step) {
        None => Some(Next::Start { step, attempt: 1 }),
        Some(StepStanding::Done(_)) => None,
        Some(StepStanding::Started { attempt }) => Some(Next::Probe { step, attempt: *attempt }),
        Some(StepStanding::Failed { attempt, failure: Failure::Unknown, retry_at }) => match retry_at {
            Some(at) if !is_over(*at, now, WAIT_US_MAX) => Some(Next::WaitUntil(*at)),
            Some(_) | None => Some(Next::Probe { step, attempt: *attempt }),
        },
        Some(StepStanding::Failed { attempt, failure: Failure::Refused, retry_at }) => match retry_at {
            Some(at) if !is_over(*at, now, WAIT_US_MAX) => Some(Next::WaitUntil(*at)),
            Some(_) => Some(Next::Start { step, attempt: attempt + 1 }),
            None => Some(Next::End(SagaEnd::Stuck)),
        },
        Some(StepStanding::Undone) => Some(Next::End(SagaEnd::Stuck)),
    }
}

fn after_pivot(saga: &Saga, script: Script, now: Timestamp) -> Next {
    std::iter::once(script.pivot)
        .chain(script.retriable.iter().copied())
        .find_map(|step| forward(saga, step, now))
        .unwrap_or(Next::End(SagaEnd::Completed))
}

fn is_undoing(saga: &Saga, script: Script) -> bool {
    script.compensable.iter().any(|&step| matches!(saga.step(step), Some(StepStanding::Undone)))
}

/// Compensations run in reverse and are harmless where there is nothing to undo, so no probe comes first.
fn undo(saga: &Saga, script: Script) -> Next {
    for &step in script.compensable.iter().rev() {
        match saga.step(step) {
            None | Some(StepStanding::Undone) => {}
            Some(StepStanding::Started { .. } | StepStanding::Done(_) | StepStanding::Failed { .. }) => {
                return Next::Compensate { step };
            }
        }
    }
    // Undone because a step failed for good: nothing is lost, but a person has to look.
    Next::End(if saga.gave_up { SagaEnd::Stuck } else { SagaEnd::Compensated })
}

/// Returns the name of a step's effect: the same for every attempt, so that a repetition can be recognised.
#[must_use]
pub fn idempotency_key(store: [u8; 16], saga: SagaId, step: Step) -> Digest {
    let mut bytes = b"retentiond step v1".to_vec();
    bytes.extend_from_slice(&store);
    bytes.extend_from_slice(&saga.0.0.to_le_bytes());
    bytes.push(step as u8);
    Digest::of(&bytes)
}

/// Returns how long to wait before the attempt after `attempt`: 1 s, doubled each time, at most 15 minutes.
#[must_use]
pub fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(32);
    Duration::from_millis(BACKOFF_MS_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MS_MAX))
}

/// Returns the number under which an attempt is recorded whose end nobody knows. Past the pivot a probe that cannot tell
/// either counts as one more, since it is repeated for ever; before it, only attempts count against those that there are.
/// A redaction and a restriction are of our own store: they wait for a pause or a doubted clock to be over, and go on
/// soon after.
#[must_use]
pub fn unknown_attempt(saga: &Saga, step: Step, attempt: u32) -> u32 {
    match saga.step(step) {
        Some(StepStanding::Failed { attempt: last, failure: Failure::Unknown, .. })
            if *last == attempt && saga.is_past_pivot() && !matches!(step, Step::Redact | Step::Restrict) =>
        {
            attempt.saturating_add(1)
        }
        _ => attempt,
    }
}

/// Returns when to look with a probe after an effect, or a probe, whose end nobody knows: never at once, and later the
/// more often it was tried.
#[must_use]
pub fn probe_at(attempt: u32, now: Timestamp) -> Timestamp {
    now.after(backoff(attempt).max(PROBE_AGAIN_AFTER))
}

/// Returns when to try again after a refusal, or `None` when the step has been tried often enough.
///
/// Steps from the pivot on are retried for ever.
#[must_use]
pub fn retry_at(step: Step, attempt: u32, now: Timestamp) -> Option<Timestamp> {
    let is_before_pivot = match step {
        Step::Export | Step::VerifyExport | Step::Quarantine => true,
        Step::Purge | Step::Redact | Step::Restrict | Step::VerifyAbsence | Step::Expunge | Step::DestroyKeys => false,
    };
    if is_before_pivot && attempt >= ATTEMPTS_BEFORE_PIVOT_MAX {
        return None;
    }
    Some(now.after(backoff(attempt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::saga::{Receipt, SagaItem, SagaStarted, SkipReason};
    use crate::id::{EntityId, Position, RunId};
    use crate::view::StepEvent;

    fn saga() -> Saga {
        Saga::begun(SagaStarted {
            run: RunId(Position(1)),
            script: ScriptKind::ExportPurge,
            script_version: EXPORT_PURGE_VERSION,
            mailbox: None,
            items: vec![SagaItem { item: 0, entity: EntityId(1), version: Position(1) }],
        })
    }

    fn done(saga: &mut Saga, step: Step, receipt: Receipt) {
        saga.steps.insert(step as u8, StepStanding::Done(receipt));
    }

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn quarantined(until: Timestamp) -> Saga {
        let mut saga = saga();
        let digest = Digest([0; 32]);
        done(&mut saga, Step::Export, Receipt::Exported { manifest: digest, exported_at: NOW, items: 1, bytes: 1 });
        done(&mut saga, Step::VerifyExport, Receipt::ExportVerified { manifest: digest, items: 1 });
        done(&mut saga, Step::Quarantine, Receipt::Quarantined { until, items: 1 });
        saga
    }

    #[test]
    fn nothing_is_purged_before_the_quarantine_ends() {
        let later = Timestamp(NOW.0 + 1);
        assert_eq!(next(&quarantined(later), Wish::GoOn, NOW), Next::WaitUntil(later));
        assert_eq!(next(&quarantined(later), Wish::GoOn, later), Next::Start { step: Step::Purge, attempt: 1 });
    }

    #[test]
    fn a_cancelled_saga_undoes_in_reverse_and_never_purges() {
        let mut saga = quarantined(NOW);
        for step in [Step::Quarantine, Step::VerifyExport, Step::Export] {
            assert_eq!(next(&saga, Wish::Cancel, NOW), Next::Compensate { step });
            saga.steps.insert(step as u8, StepStanding::Undone);
            // Once it is undoing, it never goes forward again, whatever is wished.
            assert!(!matches!(next(&saga, Wish::GoOn, NOW), Next::Start { .. }));
        }
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::End(SagaEnd::Compensated));
    }

    #[test]
    fn past_the_pivot_there_is_no_way_back() {
        let mut saga = quarantined(NOW);
        saga.steps.insert(Step::Purge as u8, StepStanding::Started { attempt: 1 });
        for wish in [Wish::GoOn, Wish::Pause, Wish::Cancel] {
            assert_eq!(next(&saga, wish, NOW), Next::Probe { step: Step::Purge, attempt: 1 });
        }
    }

    #[test]
    fn what_cannot_be_undone_is_tried_for_ever_ever_more_seldom_and_a_person_is_told() {
        let mut saga = quarantined(NOW);
        for (attempt, in_vain) in [(1, false), (9, false), (10, true), (1_000, true)] {
            let failed = StepStanding::Failed { attempt, failure: Failure::Unknown, retry_at: None };
            saga.steps.insert(Step::Purge as u8, failed);
            assert_eq!(saga.is_tried_in_vain(), in_vain, "{attempt}");
            let wait = probe_at(attempt, NOW).0 - NOW.0;
            assert!((15_000_000..=15 * 60_000_000).contains(&wait), "{attempt}: {wait}");
        }
        assert!(probe_at(9, NOW) > probe_at(1, NOW) && probe_at(10, NOW) > probe_at(9, NOW));
        saga.end = Some(SagaEnd::Stuck);
        assert!(!saga.is_tried_in_vain(), "it is over");
    }

    #[test]
    fn a_probe_that_cannot_tell_counts_as_an_attempt_past_the_pivot_and_not_before() {
        let unknown = StepStanding::Failed { attempt: 3, failure: Failure::Unknown, retry_at: None };
        let mut saga = quarantined(NOW);
        saga.steps.insert(Step::VerifyExport as u8, unknown.clone());
        assert_eq!(unknown_attempt(&saga, Step::VerifyExport, 3), 3, "before the pivot it would use up attempts");
        saga.steps.insert(Step::Purge as u8, StepStanding::Started { attempt: 1 });
        assert_eq!(unknown_attempt(&saga, Step::Purge, 1), 1, "the attempt itself");
        saga.steps.insert(Step::Purge as u8, unknown.clone());
        assert_eq!(unknown_attempt(&saga, Step::Purge, 3), 4);
        saga.steps.insert(Step::Redact as u8, unknown.clone());
        assert_eq!(unknown_attempt(&saga, Step::Redact, 3), 3, "a pause is waited for, and nothing is tried in vain");
        let told = |attempt| StepEvent::Fail { attempt, failure: Failure::Unknown, retry_at: None };
        for (attempt, may) in [(2, false), (3, true), (4, true), (5, false)] {
            assert_eq!(StepStanding::after(Some(&unknown), told(attempt)).is_ok(), may, "{attempt}");
        }
    }

    #[test]
    fn an_attempt_that_fails_before_its_intent_counts_and_is_tried_again() {
        let refused = |attempt, retry_at| StepStanding::Failed { attempt, failure: Failure::Refused, retry_at };
        let told = |attempt, retry_at| StepEvent::Fail { attempt, failure: Failure::Refused, retry_at };
        let later = Some(Timestamp(NOW.0 + 1));
        for (attempt, may) in [(2, false), (3, false), (4, true), (5, false)] {
            let standing = StepStanding::after(Some(&refused(3, Some(NOW))), told(attempt, later));
            assert_eq!(standing == Ok(refused(attempt, later)), may, "{attempt}");
        }
        assert!(StepStanding::after(Some(&refused(3, None)), told(4, later)).is_err(), "it was given up");
        assert!(StepStanding::after(Some(&refused(3, Some(NOW))), told(4, None)).is_err(), "nothing is given up so");
        let mut saga = quarantined(NOW);
        saga.steps.insert(Step::Purge as u8, refused(4, later));
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::WaitUntil(Timestamp(NOW.0 + 1)));
        assert_eq!(next(&saga, Wish::GoOn, Timestamp(NOW.0 + 1)), Next::Start { step: Step::Purge, attempt: 5 });
    }

    #[test]
    fn nobody_waits_for_an_attempt_that_a_clock_which_was_ahead_has_put_off() {
        for failure in [Failure::Refused, Failure::Unknown] {
            let again = match failure {
                Failure::Refused => Next::Start { step: Step::Purge, attempt: 2 },
                Failure::Unknown => Next::Probe { step: Step::Purge, attempt: 1 },
            };
            let longest = Timestamp(NOW.0 + WAIT_US_MAX);
            for (at, next_is) in [(longest, Next::WaitUntil(longest)), (Timestamp(longest.0 + 1), again)] {
                let mut saga = quarantined(NOW);
                let failed = StepStanding::Failed { attempt: 1, failure, retry_at: Some(at) };
                saga.steps.insert(Step::Purge as u8, failed);
                assert_eq!(next(&saga, Wish::GoOn, NOW), next_is, "{failure:?}");
            }
        }
    }

    #[test]
    fn a_saga_without_items_left_is_undone() {
        let mut saga = quarantined(NOW);
        saga.skipped.insert(EntityId(1), SkipReason::Held);
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::Compensate { step: Step::Quarantine });
    }

    #[test]
    fn an_unknown_script_version_is_left_to_a_person() {
        let mut saga = saga();
        saga.started.script_version = 99;
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::End(SagaEnd::Stuck));
    }

    #[test]
    fn what_is_left_is_recorded_before_any_key_is_destroyed() {
        let mut saga = quarantined(NOW);
        saga.started.script = ScriptKind::ExportRedact;
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::Start { step: Step::Redact, attempt: 1 });
        saga.steps.insert(Step::Redact as u8, StepStanding::Started { attempt: 1 });
        for wish in [Wish::GoOn, Wish::Pause, Wish::Cancel] {
            assert_eq!(next(&saga, wish, NOW), Next::Probe { step: Step::Redact, attempt: 1 });
        }
        done(&mut saga, Step::Redact, Receipt::Redacted { items: 1 });
        for step in [Step::DestroyKeys, Step::VerifyAbsence] {
            assert_eq!(next(&saga, Wish::Cancel, NOW), Next::Start { step, attempt: 1 });
            done(&mut saga, step, Receipt::Absent { items: 1 });
        }
        assert_eq!(next(&saga, Wish::Cancel, NOW), Next::End(SagaEnd::Completed));
    }

    #[test]
    fn messages_are_expunged_before_their_keys_are_destroyed_and_never_come_back_after_that() {
        let mut saga = quarantined(NOW);
        saga.started.script = ScriptKind::MessagePurge;
        assert_eq!(next(&saga, Wish::GoOn, NOW), Next::Start { step: Step::Expunge, attempt: 1 });
        let failed = StepStanding::Failed { attempt: 1, failure: Failure::Unknown, retry_at: None };
        saga.steps.insert(Step::Expunge as u8, failed);
        for wish in [Wish::GoOn, Wish::Pause, Wish::Cancel] {
            assert_eq!(next(&saga, wish, NOW), Next::Probe { step: Step::Expunge, attempt: 1 });
        }
        done(&mut saga, Step::Expunge, Receipt::Expunged { items: 1 });
        for step in [Step::VerifyAbsence, Step::DestroyKeys] {
            assert_eq!(next(&saga, Wish::Cancel, NOW), Next::Start { step, attempt: 1 });
            done(&mut saga, step, Receipt::Absent { items: 1 });
        }
        assert_eq!(next(&saga, Wish::Cancel, NOW), Next::End(SagaEnd::Completed));
    }
}
