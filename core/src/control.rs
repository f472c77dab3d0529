//! The wire types of the control API: HTTP/1.1 and JSON over a Unix socket.
//!
//! A request is an [`Operation`] with its path arguments, a query and perhaps a body. An answer is one JSON value, or a
//! list. A list comes as a [`Page`] of at most `limit` rows, or, when the caller accepts `application/x-ndjson`, as a
//! stream of [`Line`]s that ends with [`Line::End`]; a stream without that line was cut off. So a million rows cost
//! neither side the memory of a million rows.

mod cloud_event;
mod error_code;
mod exit_code;
mod operation;
mod request;
mod response;
mod role;

pub use cloud_event::cloud_event;
pub use error_code::ErrorCode;
pub use exit_code::ExitCode;
pub use operation::{Answer, Method, Operation};
pub use request::*;
pub use response::*;
pub use role::{Role, UnknownRole};

/// The media type of a stream of [`Line`]s.
pub const NDJSON: &str = "application/x-ndjson";

/// Where the socket lies unless somebody says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/retentiond/control.sock";

/// The most rows in one [`Page`], and how many it holds when the caller does not say. Streams have no such limit.
pub const PAGE_ROWS_MAX: u32 = 1_000;

/// The largest body of a request, in bytes: room for a set of policies, far below what would hurt.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest free text of a person (a reason, a comment), in bytes.
pub const TEXT_BYTES_MAX: usize = 2_000;

/// The most entities that one request names.
pub const ENTITIES_PER_REQUEST_MAX: usize = 10_000;

/// The most mailboxes that one request registers.
pub const MAILBOXES_PER_REQUEST_MAX: usize = 1_000;

/// The longest that a request with `wait_seconds` is kept waiting, in seconds; the caller asks again.
pub const WAIT_SECONDS_MAX: u32 = 30;
