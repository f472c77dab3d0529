//! The harness: the real stages, store and archive, driven step by step with a manual clock, faults and crashes.
//!
//! [`world`] has everything, [`invariants`] is the one checker that looks at it after every step, [`model`] is the tiny
//! truth it is compared with, [`crash`] and [`faults`] stop the world and break it, [`story`] tells what happened,
//! [`mail`] and [`mailboxes`] are mail servers in memory, [`daemon`] runs the real programs, and [`victim`] is the real
//! daemon that is killed. [`servers`] are real mail servers, [`inbox`] takes mail and posts, [`proxy`] fails between
//! them and the product, [`trap`] stops everything there at one place, and [`scripted`] says what no real one says.
//! [`bundle`] reads bundles, [`disk`] tells what lies in files, and [`traces`] looks for what was erased in them and in a memory.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as a test does: at once and by name")]

pub mod bundle;
pub mod crash;
pub mod daemon;
pub mod disk;
pub mod faults;
pub mod filters;
pub mod inbox;
pub mod invariants;
pub mod mail;
pub mod mailboxes;
pub mod model;
pub mod policy_schema;
pub mod proxy;
pub mod scripted;
pub mod servers;
pub mod story;
pub mod traces;
pub mod trap;
pub mod victim;
pub mod world;
