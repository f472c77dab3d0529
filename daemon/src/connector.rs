//! Sources and targets: the only code that speaks another system's language.
//!
//! A connector has a [`change::Feed`], an effect, or both. It names neither the store nor a stage.

// What a feed hands out.
pub mod change;

// Oddities of a source that were seen and handled.
pub mod defect;

// Rows and files that were not taken, and why.
pub mod rejection;

// Programs of the operator.
pub mod program;

// Work for a far side that ends.
mod bounded;

// What a server's certificate is checked by.
pub mod authorities;

// Requests to web servers.
mod web;

// How people are told.
pub mod notify;

// Places outside that hold signed checkpoints.
pub mod publish;

// Independent parties that cosign checkpoints.
pub mod witness;

// The logs of other programs, which are told of each event.
pub mod forward;

// Files and directories that somebody dropped.
pub mod drop;

// Where exports go.
pub mod archive;

// Messages in mailboxes, whatever protocol is behind.
pub mod mail;

// Texts of messages for somebody who asked for a copy.
pub mod texts;

// Copying between two mailboxes, whatever protocol is behind.
pub mod moving;

// Mail servers.
pub mod imap;

// Mailbox permissions.
pub mod access;

// How an effect ended.
pub mod outcome;
