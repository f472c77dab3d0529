//! Start, readiness, signals, stop.

/// The command line.
pub mod args;
/// Every exit code of the daemon.
pub mod exit;
/// What systemd is told.
pub mod notifier;
/// A store whose daemon is stopped.
pub mod offline;
/// Signals of the operating system, as wishes.
pub mod signals;
