//! The suites. `tidy` fails when a file of this directory is not listed here.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as a test does: at once and by name")]

mod checker;
mod crashes;
mod kill;
mod outcomes;
mod properties;
mod races;
mod simulation;
mod stories;
mod tidy;
