//! What systemd is told: ready, reloading, stopping, still alive. Without systemd nothing is sent and nothing fails.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells systemd how the daemon is. `NOTIFY_SOCKET` and `WATCHDOG_USEC` are read by the library.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifier;

impl Notifier {
    /// Everything is open and answers.
    pub fn ready(self) {
        send(&[NotifyState::Ready]);
    }

    /// A new configuration is being taken in; [`Notifier::ready`] ends it.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    /// What is under way is being brought to an end.
    pub fn stopping(self) {
        send(&[NotifyState::Stopping]);
    }

    /// The main loop came round.
    ///
    /// **Invariant:** sent only by the loop whose hanging the watchdog is to find, never by a task of its own.
    pub fn alive(self) {
        send(&[NotifyState::Watchdog]);
    }

    /// Shows one line in `systemctl status`. It must be safe for everybody to read.
    pub fn status(self, line: &str) {
        send(&[NotifyState::Status(line)]);
    }

    /// Start or stop takes longer than the unit allows, but goes on: asks for this much more from now.
    pub fn extend(self, by: Duration) {
        let micros = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// Returns how often [`Notifier::alive`] must be sent: half of what systemd allows, or `None` without a watchdog.
    #[must_use]
    pub fn alive_every(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told how the daemon is");
    }
}
