//! Questions to the event log that go on: what is recorded later is told as it comes.
//!
//! The reader sets the pace: nothing is read ahead of what the connection takes but one batch. Only what every auditor
//! may list is told, so following opens no record, and causes no event that would have to be told in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use retention_core::control::{AuditQuery, Cursor, ErrorCode, EventRow, FollowEnd, Line, Progress, StreamEnd};
use retention_core::id::Position;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::answer::{BATCH_ROWS_MAX, Batch, blocking, lines_of};
use super::super::error::ApiError;
use super::super::input::Asked;
use super::super::server::FOLLOWERS_MAX;
use super::Shared;
use super::audit::{batch, question};
use crate::store::{Order, Query};

pub(crate) async fn follow(
    State(control): State<Shared>,
    Asked(asked): Asked<AuditQuery>,
) -> Result<Response, ApiError> {
    let place = Arc::clone(&control.followers).try_acquire_owned().map_err(|_| {
        let message = format!("{FOLLOWERS_MAX} programs follow the log, and more are not served");
        ApiError::saying(ErrorCode::Busy, message)
            .hint("end one of them, or ask again and again without following: --after goes on")
    })?;
    let upto = Position(asked.after.map_or(0, |cursor| cursor.0));
    let newest = control.see(|views| Ok(views.position)).await?;
    // Whoever goes on from a log that was put back would otherwise miss what is recorded up to there, and not hear of
    // it.
    if upto > newest {
        let message = format!("the log ends with event {}, so nothing goes on after event {}", newest.0, upto.0);
        return Err(ApiError::saying(ErrorCode::WrongState, message)
            .hint("if the log was put back, retentionctl status says so; begin again with --after 0 or at the event that it was put back to"));
    }
    let left = asked.limit.unwrap_or(u64::MAX);
    // Only a story goes on at its end.
    let question = Query { order: Order::OldestFirst, ..question(&control, asked).await? };
    let (changes, stopped) = (control.log.changes(), control.stopped.clone());
    let waiting = VecDeque::new();
    let followed = Followed {
        control,
        question,
        changes,
        stopped,
        upto,
        left,
        rows: 0,
        waiting,
        phase: Phase::Look,
        _place: place,
    };
    Ok(lines_of(stream::unfold(followed, Followed::next)))
}

/// A question that somebody follows.
struct Followed {
    control: Shared,
    question: Query,
    changes: watch::Receiver<Position>,
    stopped: watch::Receiver<bool>,
    /// Everything up to this position was looked at.
    upto: Position,
    /// How many rows are still wanted.
    left: u64,
    rows: u64,
    waiting: VecDeque<EventRow>,
    phase: Phase,
    /// Given back when nobody listens any more.
    _place: OwnedSemaphorePermit,
}

/// What comes next.
enum Phase {
    Look,
    /// Everything up to now was looked at; it may be that nothing can follow.
    CaughtUp(Option<FollowEnd>),
    Wait,
    End(FollowEnd),
    Over,
}

impl Followed {
    async fn next(mut self) -> Option<(Line<EventRow>, Self)> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                self.rows += 1;
                return Some((Line::Row(row), self));
            }
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Look if self.left == 0 => self.phase = Phase::End(FollowEnd::Limit),
                Phase::Look if *self.stopped.borrow() => self.phase = Phase::End(FollowEnd::Stopping),
                Phase::Look => match self.look().await {
                    Ok(phase) => self.phase = phase,
                    Err(ApiError(error)) => return Some((Line::Error(error), self)),
                },
                Phase::CaughtUp(last) => {
                    self.phase = last.map_or(Phase::Wait, Phase::End);
                    let progress = Progress { unit: "events".to_owned(), done: self.upto.0, total: None };
                    return Some((Line::Progress(progress), self));
                }
                Phase::Wait => {
                    let go_on = tokio::select! {
                        // An error says that its other end is gone, and so the daemon.
                        _ = self.stopped.wait_for(|stopped| *stopped) => false,
                        changed = self.changes.changed() => changed.is_ok(),
                    };
                    self.phase = if go_on { Phase::Look } else { Phase::End(FollowEnd::Stopping) };
                }
                Phase::End(why) => {
                    let end = StreamEnd { rows: self.rows, next: Some(Cursor(self.upto.0)), ended: Some(why) };
                    return Some((Line::End(end), self));
                }
                Phase::Over => return None,
            }
        }
    }

    /// Reads the next batch. What is appended meanwhile wakes the wait that follows.
    async fn look(&mut self) -> Result<Phase, ApiError> {
        self.changes.mark_unchanged();
        let (newest, newest_at) = self.control.see(|views| Ok((views.position, views.recorded_at))).await?;
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(BATCH_ROWS_MAX);
        let (log, question) = (Arc::clone(&self.control.log), self.question.clone());
        let after = Some(Cursor(self.upto.0));
        let Batch { rows, next } = blocking(move || batch(&log, &question, after, limit)).await?;
        self.left -= rows.len() as u64;
        let last = rows.last().map(|row| row.position);
        self.waiting.extend(rows);
        if let Some(Cursor(next)) = next {
            self.upto = Position(next);
            return Ok(Phase::Look);
        }
        self.upto = self.upto.max(newest).max(last.unwrap_or(Position::NONE));
        // Times of recording never go back along the log: nothing that is still to come was recorded before that.
        let is_over = self.question.until.is_some_and(|until| newest_at >= until);
        let limit = (self.left == 0).then_some(FollowEnd::Limit);
        Ok(Phase::CaughtUp(limit.or(is_over.then_some(FollowEnd::Until))))
    }
}
