//! The handlers, one file for each family, and what they share.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use retention_core::control::{Accepted, ActorName, Cursor, ErrorCode, ListQuery, WAIT_SECONDS_MAX};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon, stream_of_position};
use retention_core::id::Position;
use retention_core::view::{Condition, Views};
use serde::Serialize;

use super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::error::ApiError;
use super::log::{self, LogError};
use super::{Caller, Control};

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod clock;
pub(crate) mod entity;
pub(crate) mod evidence;
pub(crate) mod follow;
pub(crate) mod grant;
pub(crate) mod hold;
pub(crate) mod incident;
pub(crate) mod intake;
pub(crate) mod key;
pub(crate) mod mailbox;
pub(crate) mod migration;
pub(crate) mod notice;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod restriction;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod subject;

/// What to do when the disk does not take the log any more.
const MAKE_ROOM: &str = "make room or replace the disk, start the daemon again, and look before you ask again";

/// What every handler is given.
pub(crate) type Shared = Arc<Control>;

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Conflict(conflict) => {
                Self::saying(ErrorCode::WrongState, format!("{conflict}; nothing was changed")).hint("look again")
            }
            LogError::ReadOnly(damage) => {
                let hint = if damage.code == "journal_no_space" { MAKE_ROOM } else { "retentionctl store verify" };
                let message = format!("the store is read-only: {damage}; nothing was changed");
                Self::saying(ErrorCode::StoreReadOnly, message).hint(hint)
            }
            LogError::Unwritten(why) => Self::saying(
                ErrorCode::StoreReadOnly,
                format!(
                    "the log could not be written: {why}; whether this was recorded, the next start of the daemon tells"
                ),
            )
            .hint(MAKE_ROOM),
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

    /// Answers with a list of what the views hold. `collect` is given the views, where to begin, and how many rows it
    /// may return at most.
    async fn list<T, F>(
        &self,
        wanted: Wanted,
        after: Option<Cursor>,
        limit: Option<u64>,
        collect: F,
    ) -> Result<Response, ApiError>
    where
        T: Serialize + Send + 'static,
        F: Fn(&Views, Option<Cursor>, usize) -> Batch<T> + Send + 'static,
    {
        let log = Arc::clone(&self.log);
        answer_list(wanted, after, limit, move |after, limit| {
            log::look(&log, |views| collect(views, after, limit)).ok_or_else(|| ApiError::of(ErrorCode::Internal))
        })
        .await
    }

    /// Answers with a list of what has numbers, the highest first: `rows` is given the number below which it begins.
    async fn list_newest<T, F>(
        self: &Arc<Self>,
        wanted: Wanted,
        query: ListQuery,
        rows: F,
    ) -> Result<Response, ApiError>
    where
        T: Serialize + Send + 'static,
        F: for<'v> Fn(&'v Views, u64) -> Box<dyn Iterator<Item = (u64, T)> + 'v> + Send + 'static,
    {
        self.list(wanted, query.after, query.limit, move |views, after, limit| {
            Batch::cut(rows(views, after.map_or(u64::MAX, |cursor| cursor.0)), limit)
        })
        .await
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

/// Checks that a person has the role that a policy asks of those who approve. A policy that is gone asks for none: what
/// it planned is stale.
async fn check_approver(control: &Shared, caller: &Caller, policy: String) -> Result<(), ApiError> {
    let works = Arc::clone(&control.works);
    let facts = blocking(move || Ok(works.policies().into_iter().find(|facts| facts.policy == policy))).await?;
    match facts {
        Some(facts) if !caller.roles.iter().any(|role| role.covers(facts.approver)) => {
            let (policy, needed, uid) = (facts.policy, facts.approver.name(), caller.peer.uid);
            Err(ApiError::saying(
                ErrorCode::NotPermitted,
                format!(
                    "the policy {policy} wants its approvals from somebody with the role {needed}; uid {uid} does not have it"
                ),
            )
            .hint(format!("another person with the roles approver and {needed} has to look at it")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Nothing has that name.
fn not_found(what: &str, name: impl std::fmt::Display) -> ApiError {
    ApiError::saying(ErrorCode::NotFound, format!("there is no {what} {name}"))
}

/// Who asked for something: a person by number, or else the schedule.
fn requester(uid: Option<u32>) -> ActorName {
    ActorName(uid.map_or(Actor::Schedule, Actor::Person))
}
