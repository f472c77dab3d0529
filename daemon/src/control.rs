//! The side door: HTTP/1.1 and JSON on a Unix socket.
//!
//! It reads views, appends requests, and can run nothing: what it asks of the store is [`Log`], what it asks of the
//! rest of the daemon is [`Works`]. Who calls is known from the kernel; what they may do, from the configuration.

use std::fmt;
use std::sync::Arc;

use retention_core::time::Timestamp;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;

mod answer;
mod error;
mod handlers;
mod input;
// What policies say about the data.
pub mod judgement;
mod log;
mod openapi;
// What is handed to a data subject.
pub mod package;
mod peer;
// What waits for a decision of a person.
pub mod reviews;
mod routes;
mod server;
mod socket;
// Who a record is about.
pub mod subjects;
// Who may be given access to a mailbox, and on which terms.
pub mod terms;
#[cfg(test)]
mod tests;
mod works;

pub use log::{Log, LogError};
pub use openapi::document;
pub use peer::{Accounts, Peer, declared, roles_of, unknown_accounts};
pub use routes::router;
pub use server::{CONNECTIONS_MAX, Caller, FOLLOWERS_MAX, RolesOf, serve};
pub use socket::{ControlSocket, SocketError};
pub use works::{Audience, BundleThere, OwedNotice, PolicyFacts, Sink, Works};

/// What the handlers work with.
#[derive(Clone)]
pub struct Control {
    /// The event log and its views.
    pub log: Arc<dyn Log>,
    /// The rest of the daemon.
    pub works: Arc<dyn Works>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Turns true when the daemon stops: answers that go on end then.
    pub stopped: watch::Receiver<bool>,
    /// How many more may follow the log.
    pub followers: Arc<Semaphore>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}
