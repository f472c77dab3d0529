//! Start, readiness, signals, stop.

// The command line.
pub mod args;

// Whether the daemon was away for long.
mod away;
// Backups, for people.
mod backups;
// Bundles, looked at again.
mod bundles;
// Certificates of what was disposed of.
mod certificates;

// Closing a store that is read.
mod closing;
// The daemon's life.
pub mod daemon;
// What proves the log.
mod evidence;
mod forwards;
// What wakes stages early.
mod hints;
// Registered mailboxes.
mod mailboxes;
// Mail servers that are elsewhere in a changed configuration.
mod moved;
// Metrics of the views.
mod metrics;
// How one gets into the registered mailboxes.
mod directory;
// How people are told.
mod notices;
// What systemd is told.
pub mod notifier;
// Where checkpoints are told.
mod publications;
// The key that signs checkpoints.
mod signing_key;
// The stages at work.
mod stages;
// Who has which role, for the log.
mod roles;
// What memory the process takes.
pub mod memory;
// A store whose daemon is stopped.
pub mod offline;
// Signals of the operating system, as wishes.
pub mod signals;
// Verifications as rows.
mod verified;
// Directories that are watched.
mod watch;
// One thread for each stage.
mod worker;
// Who cosigns checkpoints.
mod witnesses;
// What the control API asks of the daemon.
mod works;
// How sled is kept caught up.
mod write_out;
