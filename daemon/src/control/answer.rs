//! Answers: one value, a page, or a stream of lines.
//!
//! Lists are produced in batches on a blocking thread, each batch under a short look at the views, so that a list of a
//! million rows neither holds the writer up nor takes the memory of a million rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use retention_core::control::{Cursor, ErrorBody, ErrorCode, Line, NDJSON, PAGE_ROWS_MAX, Page, StreamEnd};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::ApiError;
use super::package;
use super::works::{Audience, Sink};

/// The most rows that one look at the views collects: some hundred microseconds.
pub(super) const BATCH_ROWS_MAX: usize = 1_000;

/// Batches that may wait for a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// Parts of a file that may wait for a slow reader.
const PARTS_WAITING_MAX: usize = 4;

/// What nobody can name: bytes for whoever asked.
const BYTES: &str = "application/octet-stream";

/// How a caller wants a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// As one page.
    Page,
    /// As a stream of lines.
    Stream,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let accepts = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepts.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or(kind));
        Ok(if kinds.any(|kind| kind.trim() == NDJSON) { Self::Stream } else { Self::Page })
    }
}

/// Some rows, and where the next batch begins.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// The rows; there may be none although more follow.
    pub(crate) rows: Vec<T>,
    /// The cursor of the last thing that was looked at; `None` at the end of the list.
    pub(crate) next: Option<Cursor>,
}

impl<T> Batch<T> {
    /// Cuts the rows after `limit`, and remembers the cursor of the last one if it was cut.
    pub(crate) fn cut(rows: impl IntoIterator<Item = (u64, T)>, limit: usize) -> Self {
        let mut rows = rows.into_iter();
        let mut last = None;
        let taken: Vec<T> = rows
            .by_ref()
            .take(limit)
            .map(|(cursor, row)| {
                last = Some(Cursor(cursor));
                row
            })
            .collect();
        let next = if taken.len() == limit && rows.next().is_some() { last } else { None };
        Self { rows: taken, next }
    }
}

/// Answers with a list.
///
/// `batch` is given where to begin and how many rows it may return at most.
pub(crate) async fn list<T, F>(
    wanted: Wanted,
    after: Option<Cursor>,
    limit: Option<u64>,
    batch: F,
) -> Result<Response, ApiError>
where
    T: Serialize + Send + 'static,
    F: FnMut(Option<Cursor>, usize) -> Result<Batch<T>, ApiError> + Send + 'static,
{
    match wanted {
        Wanted::Page => page(after, limit, batch).await,
        Wanted::Stream => Ok(stream(move |lines| send_list(lines, after, limit, batch))),
    }
}

async fn page<T, F>(mut after: Option<Cursor>, limit: Option<u64>, mut batch: F) -> Result<Response, ApiError>
where
    T: Serialize + Send + 'static,
    F: FnMut(Option<Cursor>, usize) -> Result<Batch<T>, ApiError> + Send + 'static,
{
    let limit = limit.unwrap_or(PAGE_ROWS_MAX.into()).min(PAGE_ROWS_MAX.into());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    blocking(move || {
        let mut rows = Vec::new();
        loop {
            let part = batch(after, limit - rows.len())?;
            rows.extend(part.rows);
            after = part.next;
            if after.is_none() || rows.len() >= limit {
                return Ok(Json(Page { rows, next: after }).into_response());
            }
        }
    })
    .await
}

fn send_list<T, F>(lines: &mut Lines, mut after: Option<Cursor>, limit: Option<u64>, mut batch: F)
where
    T: Serialize,
    F: FnMut(Option<Cursor>, usize) -> Result<Batch<T>, ApiError>,
{
    let limit = limit.unwrap_or(u64::MAX);
    let mut sent = 0;
    while sent < limit {
        let room = usize::try_from(limit - sent).unwrap_or(usize::MAX).min(BATCH_ROWS_MAX);
        let part = match batch(after, room) {
            Ok(part) => part,
            Err(ApiError(error)) => return lines.finish(&Line::<T>::Error(error)),
        };
        sent += part.rows.len() as u64;
        for row in part.rows {
            lines.add(&Line::Row(row));
        }
        after = part.next;
        if lines.flush() == Audience::Gone {
            return;
        }
        if after.is_none() {
            break;
        }
    }
    lines.finish(&Line::<T>::End(StreamEnd { rows: sent, next: after, ended: None }));
}

/// Answers with the rows of long work.
pub(crate) fn work<T: Serialize + 'static>(
    work: impl FnOnce(Sink<'_, T>) -> Result<(), ErrorBody> + Send + 'static,
) -> Response {
    stream(move |lines| {
        let mut rows = 0;
        let done = work(&mut |line| {
            rows += u64::from(matches!(line, Line::Row(_)));
            lines.add(&line);
            lines.flush()
        });
        lines.finish(&match done {
            Ok(()) => Line::<T>::End(StreamEnd { rows, next: None, ended: None }),
            Err(error) => Line::Error(error),
        });
    })
}

/// Answers with lines that a blocking thread makes.
fn stream(make: impl FnOnce(&mut Lines) + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    tokio::task::spawn_blocking(move || make(&mut Lines { sender, buffer: Vec::new() }));
    let body = ReceiverStream::new(receiver).map(Ok::<Bytes, std::convert::Infallible>);
    ([(CONTENT_TYPE, NDJSON)], Body::from_stream(body)).into_response()
}

/// Answers with the content of a file that a blocking thread makes, part by part. What goes wrong before the first part is
/// the answer; after it, the answer breaks off, so that nobody takes half a file for a whole one.
pub(crate) async fn file(
    make: impl FnOnce(package::Parts<'_>) -> Result<(), ErrorBody> + Send + 'static,
) -> Result<Response, ApiError> {
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, ErrorBody>>(PARTS_WAITING_MAX);
    let is_whole = Arc::new(AtomicBool::new(false));
    let made_whole = Arc::clone(&is_whole);
    tokio::task::spawn_blocking(move || {
        let made = make(&mut |part| match sender.blocking_send(Ok(part.into())) {
            Ok(()) => Audience::Listening,
            Err(_) => Audience::Gone,
        });
        match made {
            Ok(()) => made_whole.store(true, Ordering::Release),
            // Whether anybody still hears of it does not matter any more.
            Err(error) => drop(sender.blocking_send(Err(error))),
        }
    });
    let first = match receiver.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(ApiError(error)),
        None => return Err(ApiError::of(ErrorCode::Internal)),
    };
    let rest = ReceiverStream::new(receiver).map(|part| part.map_err(|error| std::io::Error::other(error.message)));
    // The first part may be empty: it says that others follow.
    let first = futures_util::stream::iter((!first.is_empty()).then_some(Ok(first)));
    // A thread that ended without a word must not look as if it had made the file.
    let end = futures_util::stream::once(async move {
        (!is_whole.load(Ordering::Acquire)).then(|| Err(std::io::ErrorKind::UnexpectedEof.into()))
    });
    let end = end.filter_map(std::future::ready);
    Ok(([(CONTENT_TYPE, BYTES)], Body::from_stream(first.chain(rest).chain(end))).into_response())
}

/// Answers with lines that come from a stream.
pub(crate) fn lines_of<T: Serialize>(lines: impl futures_util::Stream<Item = Line<T>> + Send + 'static) -> Response {
    let body = lines.map(|line| {
        let mut text = Vec::new();
        write_line(&mut text, &line);
        Ok::<Bytes, std::convert::Infallible>(text.into())
    });
    ([(CONTENT_TYPE, NDJSON)], Body::from_stream(body)).into_response()
}

/// Lines on their way to a reader.
struct Lines {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Lines {
    fn add<T: Serialize>(&mut self, line: &Line<T>) {
        write_line(&mut self.buffer, line);
    }

    fn flush(&mut self) -> Audience {
        let bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() {
            return if self.sender.is_closed() { Audience::Gone } else { Audience::Listening };
        }
        match self.sender.blocking_send(bytes.into()) {
            Ok(()) => Audience::Listening,
            Err(_) => Audience::Gone,
        }
    }

    fn finish<T: Serialize>(&mut self, line: &Line<T>) {
        self.add(line);
        // Whether anybody still reads the last line does not matter any more.
        let _ = self.flush();
    }
}

fn write_line<T: Serialize>(buffer: &mut Vec<u8>, line: &Line<T>) {
    let start = buffer.len();
    if serde_json::to_writer(&mut *buffer, line).is_err() {
        // Half a line would look like damage; a stream without its end is refused by every reader.
        buffer.truncate(start);
        return;
    }
    buffer.push(b'\n');
}

/// Runs what may block where it may.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ApiError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(ApiError::of(ErrorCode::Internal)),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn part(parts: package::Parts<'_>, text: &str) {
        assert_eq!(parts(text.as_bytes().to_vec()), Audience::Listening);
    }

    #[tokio::test]
    async fn half_a_file_never_ends_as_a_whole_one_does() {
        let whole = file(|parts| {
            part(parts, "");
            part(parts, "all ");
            part(parts, "of it");
            Ok(())
        });
        let whole = whole.await.expect("a file").into_body().collect().await.expect("all of it");
        assert_eq!(whole.to_bytes(), "all of it");
        let refused = file(|_| Err(ErrorBody::of(ErrorCode::TooLarge))).await;
        assert_eq!(refused.expect_err("nothing came").0.code, ErrorCode::TooLarge);
        let broken = file(|parts| {
            part(parts, "half");
            Err(ErrorBody::of(ErrorCode::Internal))
        });
        assert!(broken.await.expect("a beginning").into_body().collect().await.is_err());
        let silent = file(|parts| {
            part(parts, "half");
            std::panic::resume_unwind(Box::new("without a word"))
        });
        assert!(silent.await.expect("a beginning").into_body().collect().await.is_err());
    }

    #[test]
    fn a_batch_names_the_next_one_only_if_there_is_one() {
        let rows = || (1..=5u64).map(|n| (n, n));
        assert_eq!(Batch::cut(rows(), 3).next, Some(Cursor(3)));
        assert_eq!(Batch::cut(rows(), 5).next, None);
        assert_eq!(Batch::cut(rows(), 9).rows, [1, 2, 3, 4, 5]);
    }
}
