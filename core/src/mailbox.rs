//! Mailboxes on mail servers: how one logs in to them, and who may do what in them.

pub mod login;
pub mod rights;

pub use login::{Identity, LoginForm, UnknownForm};
pub use rights::{Folding, Rights, RightsError};
