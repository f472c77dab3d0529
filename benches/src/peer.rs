//! The peers.

pub(crate) mod file;
pub(crate) mod mail;
pub(crate) mod postgres;
pub(crate) mod sqlite;
