//! Mailboxes on mail servers: how one logs in to them, and who may do what in them.

pub mod login;
pub mod pattern;
pub mod rights;

pub use login::{Identity, LoginForm, UnknownForm};
pub use pattern::{AddressPattern, AddressPatternError};
pub use rights::{Rights, RightsError};

/// The longest address, RFC 5321, 4.5.3.1.3, in bytes; user names are no longer.
pub const ADDRESS_BYTES_MAX: usize = 320;

/// The columns of the record of a registered mailbox, in their order.
pub const COLUMNS: [&str; 6] = ["address", "user", "login", "login_detail", "admin", "root"];
