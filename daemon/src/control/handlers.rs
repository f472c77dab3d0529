//! The handlers, one file for each family, and what they share.

use std::sync::Arc;
use std::time::Duration;

use retention_core::control::{Accepted, ActorName, ErrorCode, WAIT_SECONDS_MAX};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon, stream_of_position};
use retention_core::id::Position;
use retention_core::view::{Condition, Views};

use super::answer::blocking;
use super::error::ApiError;
use super::log::{self, LogError};
use super::{Caller, Control};

pub(crate) mod audit;
pub(crate) mod entity;
pub(crate) mod evidence;
pub(crate) mod hold;
pub(crate) mod intake;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod status;

/// What every handler is given.
pub(crate) type Shared = Arc<Control>;

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Conflict(conflict) => {
                Self::saying(ErrorCode::WrongState, format!("{conflict}; nothing was changed")).hint("look again")
            }
            LogError::ReadOnly { code } => {
                Self::saying(ErrorCode::StoreReadOnly, format!("the store is read-only ({code}); nothing was changed"))
                    .hint("retentionctl store verify")
            }
            LogError::Closing => Self::of(ErrorCode::Stopping),
            LogError::Failed => Self::of(ErrorCode::Internal),
        }
    }
}

impl Control {
    /// Looks at the views on a blocking thread.
    async fn see<R, F>(self: &Arc<Self>, look: F) -> Result<R, ApiError>
    where
        R: Send + 'static,
        F: FnOnce(&Views) -> Result<R, ApiError> + Send + 'static,
    {
        let log = Arc::clone(&self.log);
        blocking(move || log::look(&log, look).unwrap_or_else(|| Err(ApiError::of(ErrorCode::Internal)))).await
    }

    /// Records a request of a person.
    async fn request(self: &Arc<Self>, caller: &Caller, about: About, event: Event) -> Result<Accepted, ApiError> {
        self.request_if(caller, about, event, Condition::None).await
    }

    /// Records a request of a person, if the condition still holds when it is appended.
    async fn request_if(
        self: &Arc<Self>,
        caller: &Caller,
        about: About,
        event: Event,
        condition: Condition,
    ) -> Result<Accepted, ApiError> {
        let (stream, cause) = match about {
            About::Daemon => (stream_of_daemon(), Position::NONE),
            About::Position(position) => (stream_of_position(position), position),
        };
        let actor = Actor::Person(caller.peer.uid);
        let draft = Draft { stream, entity: None, actor, cause, occurred_at: None, event };
        self.append(draft, condition).await
    }

    async fn append(self: &Arc<Self>, draft: Draft, condition: Condition) -> Result<Accepted, ApiError> {
        let log = Arc::clone(&self.log);
        blocking(move || Ok(Accepted { position: log.append(draft, condition)? })).await
    }

    /// Looks again whenever something was appended, until `look` says that it is settled or the time is over.
    ///
    /// Returns what was seen last. The wait ends with the connection.
    async fn wait<R, F>(self: &Arc<Self>, seconds: Option<u32>, look: F) -> Result<R, ApiError>
    where
        R: Send + 'static,
        F: Fn(&Views) -> Result<Seen<R>, ApiError> + Clone + Send + 'static,
    {
        let seconds = seconds.unwrap_or(0).min(WAIT_SECONDS_MAX);
        let mut changes = self.log.changes();
        let end = tokio::time::sleep(Duration::from_secs(seconds.into()));
        tokio::pin!(end);
        loop {
            changes.mark_unchanged();
            let open = match self.see(look.clone()).await? {
                Seen::Settled(seen) => return Ok(seen),
                Seen::Open(seen) => seen,
            };
            tokio::select! {
                () = &mut end => return Ok(open),
                changed = changes.changed() => if changed.is_err() { return Ok(open) },
            }
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum About {
    /// Nothing that has a name yet.
    Daemon,
    /// Something that is named by a position.
    Position(Position),
}

/// Whether there is something left to wait for.
enum Seen<R> {
    /// There is.
    Open(R),
    /// There is not.
    Settled(R),
}

/// Nothing has that name.
fn not_found(what: &str, name: impl std::fmt::Display) -> ApiError {
    ApiError::saying(ErrorCode::NotFound, format!("there is no {what} {name}"))
}

/// Who asked for something: a person by number, or else the schedule.
fn requester(uid: Option<u32>) -> ActorName {
    ActorName(uid.map_or(Actor::Schedule, Actor::Person))
}
