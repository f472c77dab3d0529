//! The suites. `tidy` fails when a file of this directory is not listed here.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as a test does: at once and by name"
)]

mod access;
mod activities;
mod beside;
mod checker;
mod clock;
mod copies;
mod correspondence;
mod crashes;
mod ctl;
mod deliveries;
mod drift;
mod encrypted;
mod filters;
mod full;
mod grants;
mod holds;
mod kill;
mod language;
mod life;
mod mail;
mod messages;
mod months;
mod notices;
mod observing;
mod outcomes;
mod permissions;
mod properties;
mod races;
mod redactions;
mod registry;
mod restrictions;
mod reviews;
mod round_trip;
mod schema;
mod simulation;
mod stories;
mod subjects;
mod tidy;
