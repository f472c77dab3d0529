//! How many connections a server may have at once, and when it is left alone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{MailError, RETRY_SOON};
use crate::connector::outcome::Retry;

/// How long one waits for another connection to end before giving up.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The first pause after a failure; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// The connections of one server.
pub(super) struct Gate {
    max: usize,
    state: Mutex<State>,
    one_ended: Condvar,
}

#[derive(Default)]
struct State {
    open: usize,
    failures: u32,
    not_before: Duration,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Messages: it may take hours.
    Usual,
    /// Permissions: it is short, and a revoke must not wait for an export.
    Urgent,
}

/// One connection; it is given back when dropped.
pub(super) struct Permit(Arc<Gate>);

/// Returns how many of the connections of a server are for messages. The last of several is kept for what is urgent.
pub(super) fn usual_at_once(max: usize) -> usize {
    max.saturating_sub(1).max(1)
}

impl Gate {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), state: Mutex::default(), one_ended: Condvar::new() })
    }

    /// Waits until there may be another connection.
    pub(super) fn enter(self: &Arc<Self>, now: Duration, errand: Errand) -> Result<Permit, MailError> {
        let max = match errand {
            Errand::Usual => usual_at_once(self.max),
            Errand::Urgent => self.max,
        };
        let mut state = self.state.lock();
        if state.not_before > now {
            return Err(MailError::refused("mail-backing-off", Retry::After(state.not_before - now)));
        }
        while state.open >= max {
            if self.one_ended.wait_for(&mut state, WAIT_MAX).timed_out() && state.open >= max {
                return Err(MailError::refused("mail-connections-busy", Retry::After(RETRY_SOON)));
            }
        }
        state.open += 1;
        Ok(Permit(Arc::clone(self)))
    }

    /// Remembers that the server could not be used, and leaves it alone for a while. `random` spreads the waits of many
    /// daemons.
    pub(super) fn failed(&self, now: Duration, at_least: Duration, random: u64) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        let doubled = PAUSE_MIN.saturating_mul(1 << (state.failures - 1).min(16)).min(PAUSE_MAX);
        let pause = doubled.max(at_least).min(PAUSE_MAX);
        // Between half and all of it.
        let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
        let pause = Duration::from_millis(half.saturating_add(random % half.max(1)));
        state.not_before = state.not_before.max(now.saturating_add(pause));
    }

    /// Remembers that the server could be used.
    pub(super) fn succeeded(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.not_before = Duration::ZERO;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state.lock().open -= 1;
        // Whoever may go on first is not known here: not everybody may.
        self.0.one_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::outcome::Refusal;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn there_are_never_more_connections_than_allowed() {
        let gate = Gate::new(3);
        let open = Mutex::new((0_usize, 0_usize));
        std::thread::scope(|threads| {
            for _ in 0..12 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        let permit = gate.enter(second(1), Errand::Urgent).expect("a permit");
                        {
                            let mut open = open.lock();
                            open.0 += 1;
                            open.1 = open.1.max(open.0);
                        }
                        std::thread::yield_now();
                        open.lock().0 -= 1;
                        drop(permit);
                    }
                });
            }
        });
        assert!(open.lock().1 <= 3);
        assert_eq!(gate.state.lock().open, 0);
    }

    #[test]
    fn a_revoke_does_not_wait_for_an_export() {
        let gate = Gate::new(3);
        let _exports = [(); 2].map(|()| gate.enter(second(1), Errand::Usual).expect("a permit"));
        let revoke = gate.enter(second(1), Errand::Urgent);
        assert!(revoke.is_ok());
        assert_eq!(gate.state.lock().open, 3);
        // The only connection of a server is for everything.
        assert!(Gate::new(1).enter(second(1), Errand::Usual).is_ok());
    }

    #[test]
    fn a_server_that_fails_is_left_alone_longer_each_time_and_never_for_ever() {
        let gate = Gate::new(1);
        let mut before = Duration::ZERO;
        for failures in 1..40 {
            let now = second(1000 * failures);
            gate.failed(now, Duration::ZERO, u64::MAX);
            let pause = gate.state.lock().not_before - now;
            assert!(pause >= before / 2 && pause <= PAUSE_MAX && pause >= PAUSE_MIN / 2, "{pause:?}");
            before = pause;
            let refused = gate.enter(now, Errand::Usual).map(|_| ()).expect_err("left alone");
            assert!(matches!(
                refused,
                MailError::Refused(Refusal { code: "mail-backing-off", retry: Retry::After(_) })
            ));
            assert!(gate.enter(now + PAUSE_MAX, Errand::Usual).is_ok());
        }
        gate.succeeded();
        assert!(gate.enter(second(1), Errand::Usual).is_ok());
    }
}
