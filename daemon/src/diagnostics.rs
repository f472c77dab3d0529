//! The program's own messages, for operators and developers. They are not the event log and prove nothing.
//!
//! **Redaction.** No message holds personal data or a secret: no cell, no mailbox address, no name of an outside file.
//! What must travel through code that prints is wrapped in `Redacted`. A panic shows where it was and, only when it
//! is a text of the program itself, why.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Diagnostics, DiagnosticsTarget, Environment};

/// A value that no message shows.
///
/// **Invariant:** neither `Debug` nor `Display` depends on the value, not even on its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Redacted<T>(pub T);

impl<T> Redacted<T> {
    /// Returns the value to code that does not print it.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Messages cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosticsError {
    /// The journal is not there.
    #[error("the journal of systemd cannot be reached ({0}); set diagnostics.target to \"stderr\" or \"auto\"")]
    Journald(io::Error),
    /// The level is not one.
    #[error("diagnostics.level is not a level or a list of levels")]
    Level,
    /// Something has set messages up before.
    #[error("diagnostics are already set up: {0}")]
    Twice(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the level cannot be changed any more: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes the level while the daemon runs.
#[derive(Debug, Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Takes a new level at once.
    ///
    /// # Errors
    /// Says when it is not a level; the old one stays.
    pub fn set(&self, level: &str) -> Result<(), DiagnosticsError> {
        let targets = parse_level(level).ok_or(DiagnosticsError::Level)?;
        Ok(self.0.reload(targets)?)
    }
}

/// Reads a level such as `info` or `info,retentiond::store=debug`.
pub(crate) fn parse_level(text: &str) -> Option<Targets> {
    // tracing reads an unknown word as the name of a target that shows everything, and an empty one as `error`.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let names_a_level = |item: &str| match item.trim().split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(item.trim()),
    };
    text.split(',').all(names_a_level).then(|| text.parse().ok())?
}

/// Sends the messages of this process to where the configuration says, and sets the panic hook.
///
/// # Errors
/// Says why nothing can be shown. The caller then says so on standard error and ends.
pub fn start(diagnostics: &Diagnostics, environment: &Environment) -> Result<LevelHandle, DiagnosticsError> {
    let targets = parse_level(&diagnostics.level).ok_or(DiagnosticsError::Level)?;
    let (filter, handle) = reload::Layer::new(targets);
    let to_journal = match diagnostics.target {
        DiagnosticsTarget::Journald => true,
        DiagnosticsTarget::Stderr => false,
        DiagnosticsTarget::Auto => environment.journal_stream.is_some(),
    };
    if to_journal {
        let journal = tracing_journald::layer().map_err(DiagnosticsError::Journald)?;
        Registry::default().with(journal.with_filter(filter)).try_init()?;
    } else {
        let stderr = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
        Registry::default().with(stderr.with_filter(filter)).try_init()?;
    }
    std::panic::set_hook(Box::new(report_panic));
    Ok(LevelHandle(handle))
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let (file, line) = panic.location().map_or(("unknown", 0), |at| (at.file(), at.line()));
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        file,
        line,
        why = said_by_the_program(panic.payload()),
        "panic"
    );
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls a library that panics where it should fail; `None` when it did. What it leaves half done must not be used again.
///
/// The message of the panic is not printed: it may hold what the library was at work on.
pub fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                others(panic);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    IS_QUIET.set(before);
    result.ok()
}

/// Returns the payload when it is a text of the program. A text that was put together may hold anything.
fn said_by_the_program(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("[redacted]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_value_shows_nothing_of_itself() {
        let secret = Redacted(String::from("ada.quill@contoso.com"));
        for shown in
            [format!("{secret}"), format!("{secret:?}"), format!("{:#?}", Some(&secret)), format!("{secret:>40}")]
        {
            assert!(!shown.contains("ada") && !shown.contains("contoso"), "{shown}");
        }
        assert_eq!(format!("{secret:?}"), format!("{:?}", Redacted(String::new())));
        assert_eq!(secret.reveal(), "ada.quill@contoso.com");
    }

    #[test]
    fn a_panic_shows_only_what_the_program_itself_says() {
        let formatted: Box<dyn Any + Send> = Box::new(format!("bad cell {}", "ada.quill"));
        assert_eq!(said_by_the_program(formatted.as_ref()), "[redacted]");
        let literal: Box<dyn Any + Send> = Box::new("the queue is closed");
        assert_eq!(said_by_the_program(literal.as_ref()), "the queue is closed");
    }

    #[test]
    fn a_panic_of_a_library_is_an_answer_and_the_next_call_is_made() {
        assert_eq!(caught(|| -> u8 { panic!("no such row") }), None);
        assert_eq!(caught(|| 4), Some(4));
        assert!(!IS_QUIET.get());
    }

    #[test]
    fn levels_are_levels_and_not_names_of_targets() {
        for good in ["info", "WARN", "off", "info,retentiond::store=debug", "warn, sled=error"] {
            assert!(parse_level(good).is_some(), "{good}");
        }
        for bad in ["", "loud", "info,", "info,sled", "sled=loud", "=", ","] {
            assert!(parse_level(bad).is_none(), "{bad}");
        }
    }
}
