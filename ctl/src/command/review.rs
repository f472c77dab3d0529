//! `review`.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use retention_core::control::{
    Accepted, DecideReview, ENTITIES_PER_REQUEST_MAX, ErrorCode, ExitCode, Operation, ReviewItemRow, ReviewedItem, Seen,
};
use retention_core::event::review::ReviewVerdict;
use retention_core::id::ReviewId;
use serde_json::json;

use super::files::unread;
use super::{Call, Context, query, refuse};
use crate::args::review::Review;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["entity", "kind", "source", "due_at", "version"];

/// The longest row that is read, in bytes: many times what a list writes.
const ROW_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn execute(context: &mut Context, command: Review) -> Result<ExitCode, Failure> {
    match command {
        Review::List { policy, part } => {
            let call = Call::to(Operation::ReviewList, &[&policy]).asking(&query(part));
            context.list(&call, COLUMNS).doing("list what waits for a decision")?;
            Ok(ExitCode::Done)
        }
        Review::Show { review } => {
            context.show(&Call::to(Operation::ReviewShow, &[&review])).doing("show the decision")?;
            Ok(ExitCode::Done)
        }
        Review::Decide { policy, items, from, verdict, why } => {
            let decision = verdict.keep_until.map_or(ReviewVerdict::Dispose, |until| ReviewVerdict::Keep { until });
            let items = match from {
                Some(path) => rows_of(&path),
                None => Ok(items.into_iter().map(|entity| ReviewedItem { entity, seen: None }).collect()),
            };
            let decide = |items: Vec<ReviewedItem>| decide(context, &policy, decision, &items, &why.reason);
            items.and_then(decide).doing("decide")
        }
    }
}

/// Reads the rows of a list, line by line.
fn rows_of(path: &Path) -> Result<Vec<ReviewedItem>, Cause> {
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(unread(path))?)
    };
    let mut reader = BufReader::new(reader);
    let mut items = Vec::new();
    for number in 1_u64.. {
        let mut line = Vec::new();
        let read = reader.by_ref().take(ROW_BYTES_MAX).read_until(b'\n', &mut line).map_err(unread(path))?;
        if read == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: ReviewItemRow = serde_json::from_slice(&line).map_err(|_| {
            let message = format!("line {number} is no row of `review list --output jsonl`; nothing was decided");
            refuse(ErrorCode::BadRequest, message)
        })?;
        items.push(ReviewedItem { entity: row.entity, seen: Some(Seen { version: row.version, due_at: row.due_at }) });
    }
    if items.is_empty() {
        return Err(refuse(ErrorCode::BadRequest, "there are no rows; nothing was decided"));
    }
    Ok(items)
}

fn decide(
    context: &mut Context,
    policy: &str,
    decision: ReviewVerdict,
    items: &[ReviewedItem],
    reason: &str,
) -> Result<ExitCode, Cause> {
    for part in items.chunks(ENTITIES_PER_REQUEST_MAX) {
        let wanted = DecideReview { decision, items: part.to_vec(), reason: reason.to_owned() };
        let call = Call::to(Operation::ReviewDecide, &[&policy]).with(&wanted);
        let accepted: Accepted = context.client.typed(&call)?;
        context.present(&json!({ "review": ReviewId(accepted.position), "items": part.len() }))?;
    }
    if decision == ReviewVerdict::Dispose {
        context.next(&format!("retentionctl plan make {policy}, then another person: retentionctl plan approve"));
    }
    Ok(ExitCode::Done)
}
