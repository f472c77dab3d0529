//! Migration batches: the CSV files with which mailboxes, public folders and PST files are moved.
//!
//! What Microsoft documents for each kind of batch is a table in [`kind`]; what it does not say, and where it says two
//! things, is decided here for the stricter reading, and `docs/migration-batches.md` says so. Everything is pure: bytes
//! in, findings or bytes out.
//!
//! | file | what |
//! |---|---|
//! | [`kind`] | the kinds, their attributes and limits |
//! | [`detect`] | which kind a header is of |
//! | [`sheet`] | bytes become rows; encodings and delimiters as `text` and `table` have them |
//! | [`login`] | the forms of an administrator's login in `UserName` |
//! | [`mod@check`], [`rule`], [`value`] | every rule, all findings at once |
//! | [`mod@write`] | RFC 4180, and `MigrationErrors.csv` |
//! | [`convert`], [`split`], [`make`] | one file from another |
//! | [`register`] | what is registered of an IMAP batch |
//! | [`command`] | `New-MigrationBatch`, ready to paste |
//!
//! **Passwords.** The file carries them in the clear. No finding, no message and no `Debug` output holds a cell; rows
//! and files are overwritten in memory when they are dropped.

pub mod check;
pub mod command;
pub mod convert;
pub mod detect;
pub mod kind;
pub mod login;
pub mod make;
pub mod register;
pub mod rule;
pub mod sheet;
pub mod split;
pub mod value;
pub mod write;

#[cfg(test)]
mod tests;

pub use check::{Checked, Settings, UnknownColumns, check};
pub use detect::Detection;
pub use kind::{Attribute, MigrationKind, Need};
pub use rule::{Problem, Rule, Weight};
pub use sheet::{Named, Row, Sheet, SheetError};

/// The largest file that is read, in bytes: 64 MiB, more than six times the largest documented limit (10 MB, IMAP),
/// and small enough to be held in memory whole.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// The longest row, in bytes: 256 KiB, eight of the longest cells that a spreadsheet holds.
pub const ROW_BYTES_MAX: usize = 256 << 10;

/// The most columns: no kind has more than ten, and a user export has some dozens.
pub const COLUMNS_MAX: usize = 256;

/// The most files that are checked together: each has at least one user.
pub const FILES_MAX: usize = 10_000;
