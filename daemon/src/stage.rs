//! The flow. Stages never call each other; they meet only in the log.
//!
//! | stage | wakes on | reads | asks core | writes |
//! |---|---|---|---|---|
//! | [`intake`] | a dropped file | the file, the views | is this a change? | change events |
//! | [`policies`] | an edited policy | the policy files | is the set valid? | `PolicySetActivated` |
//! | [`schedule`] | the clock | the views | whose time has come? | `ScheduleFired`, `PlanRequested`, `RunRequested` |
//! | [`project`] | unjudged entities | their records | when is this due? | the due index |
//! | [`catch`] | the log's growth | changes, the records | does the filter of a hold match? | `HoldsJudged` |
//! | [`plan`] | `PlanRequested` | the due index, records | what is due, and why? | `PlanItems`, `PlanFrozen` |
//! | [`attest`] | the log's growth | envelopes | what is the root? | hashes and checkpoints, beside the log |
//! | [`publish`] | the log's growth | the newest checkpoint | nothing | nothing: it tells places outside |
//! | [`witness`] | the log's growth | checkpoints | does the cosignature hold? | cosignatures, beside the log |
//! | [`forward`] | the log's growth | envelopes | nothing | nothing: it tells the logs of other programs |
//! | [`ledger`] | destructions in the log | their rows | nothing | nothing: it tells the ledger of erasures |
//! | [`notify`] | the log's growth, the clock | the views, who got copies | what are people owed? | `NoticeSent`, `NoticeFailed` |
//! | [`run`] | `RunRequested`, timers | plans, open sagas | what comes next? | intents, receipts, ends |
//!
//! Each has a `step` that does one piece of work and says whether there is more, so that a test can drive them in any
//! order, and the supervisor drives each on its own thread. A step that can take long asks `halt` on its way.

use retention_core::time::{Timestamp, is_over};

use crate::clock::Clock;
use crate::halt::Halted;
use crate::store::Store;
use crate::store::tree::Tree;

pub mod attest;
pub mod catch;
pub mod forward;
pub mod intake;
pub mod ledger;
pub mod notify;
pub mod plan;
pub mod policies;
pub mod project;
pub mod publish;
pub mod run;
pub mod schedule;
pub mod witness;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something; there may be more.
    Worked,
    /// Nothing: there is nothing to do until the log grows.
    Idle,
    /// Nothing until then, or until the log grows.
    IdleUntil(Timestamp),
}

/// Returns when something is looked at again that is looked at every so often. `logged` is when it was looked at last as the
/// log says it, and `looked` as this process saw it by the clock. While the time of the log stands still, because a clock was
/// once ahead, what the log says is no time ago: by it alone nothing would be looked at until the clock has caught up, or
/// everything without a pause.
fn look_due(logged: Timestamp, looked: Option<Timestamp>, now: Timestamp, every_us: i64) -> Timestamp {
    let last = if logged <= now { Some(logged) } else { looked.filter(|at| *at <= now) };
    last.map_or(now, |last| Timestamp(last.0.saturating_add(every_us)))
}

/// Returns the earlier of when a stage is to wake already and another instant.
fn sooner(wake: Option<Timestamp>, at: Timestamp) -> Timestamp {
    wake.map_or(at, |wake| wake.min(at))
}

/// How soon it is looked for a checkpoint over what was appended: a second after, in microseconds.
const SIGNED_AFTER_US: i64 = 1_000_000;

/// Returns when a stage that hands on checkpoints has to look again, beside its own time: one is signed up to a second
/// after the log has grown, and that is no event.
fn look_again(store: &Store, clock: &dyn Clock, tree: &Tree, wake: Option<Timestamp>) -> Step {
    let is_signed = tree.covered() >= store.view(|views| views.position.0);
    let soon = (!is_signed).then(|| Timestamp(clock.now().0.saturating_add(SIGNED_AFTER_US)));
    wake.into_iter().chain(soon).min().map_or(Step::Idle, Step::IdleUntil)
}

/// A stage could not go on. Nothing was done by halves: what the log says is what happened.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The log did not take an event.
    #[error(transparent)]
    Append(#[from] crate::store::AppendError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] crate::store::ReadError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] crate::store::vault::VaultError),
    /// A body could not be encoded.
    #[error(transparent)]
    Codec(#[from] retention_core::event::codec::CodecError),
    /// The daemon is ending.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// A delivery could not be taken in; it waits where it was claimed.
    #[error(transparent)]
    Intake(#[from] intake::IntakeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_dates_into_the_future_is_looked_at_by_the_clock_of_this_process() {
        let [past, now, future] = [1_000, 5_000, 9_000].map(Timestamp);
        let due = |logged, looked| look_due(logged, looked, now, 100).0;
        assert_eq!(due(past, None), 1_100);
        assert_eq!(due(past, Some(now)), 1_100, "the log knows it");
        assert_eq!(due(future, None), now.0, "nobody here has looked yet");
        assert_eq!(due(future, Some(Timestamp(4_950))), 5_050);
        assert_eq!(due(future, Some(future)), now.0, "the clock was set back once more");
    }
}
