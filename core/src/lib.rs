//! `retention-core`: everything that retentiond decides.
//!
//! **Pure.** No clock, disk, network, environment, thread or async. Time and randomness come in as arguments, so the
//! dangerous question, "may this be purged now?", is a function that can be asked a million times in a test.
//!
//! The modules stand in the order of their dependencies: each names only those above it.

// Names of things.
pub mod id;

// Instants, periods, zones.
pub mod time;

// When a policy is looked at.
pub mod schedule;

// What is kept: kinds, layouts, rows.
pub mod record;

// Mailboxes on mail servers: how one logs in, and who may do what.
pub mod mailbox;

// Encodings and delimiters of other people's files.
pub mod text;

// Rows of delimited text.
pub mod table;

// Migration batches: CSV files of mailboxes, checked, split, made and converted.
pub mod batch;

// By what a data subject is found.
pub mod subject;

// Why a decision is what it is.
pub mod reason;

// Facts that were recorded.
pub mod event;

// What is true now, folded from events.
pub mod view;

// What may be disposed of, and when.
pub mod policy;

// What one run will do, frozen.
pub mod plan;

// What a saga does next.
pub mod saga;

// What a grant does next.
pub mod grant;

// What people are told, and when.
pub mod notice;

// What proves a disposition: export manifests and the canonical form of exported items.
pub mod evidence;

// What is handed to a data subject.
pub mod package;

// What the logs of other programs are told of an event.
pub mod forward;

// What the daemon and `retentionctl` say to each other.
pub mod control;
