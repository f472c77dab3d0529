//! `hold`, `pause` and `resume`.

use std::path::Path;

use retention_core::control::{
    Accepted, Cursor, ErrorCode, ExitCode, HoldQuery, HoldStanding, HoldsWanted, Operation, PauseDisposal, PlaceHold,
    ReleaseHold,
};
use retention_core::id::HoldId;
use retention_core::policy::FILTER_BYTES_MAX;
use serde_json::json;

use super::{Call, Context, files, refuse};
use crate::args::hold::{Cover, Hold, PauseArgs, Paused};
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &[
    "hold",
    "name",
    "reason",
    "owner",
    "reference",
    "entities",
    "mailboxes",
    "policies",
    "standing",
    "caught",
    "unjudged",
    "review_at",
    "protects_until",
    "placed_by",
    "placed_at",
];

pub(super) fn execute(context: &mut Context, command: Hold) -> Result<ExitCode, Failure> {
    match command {
        Hold::Place { name, cover, why } => {
            wanted(name, *cover, why.reason).and_then(|wanted| place(context, &wanted)).doing("place the hold")
        }
        Hold::Show { hold } => {
            context.show(&Call::to(Operation::HoldShow, &[&hold])).doing("show the hold")?;
            Ok(ExitCode::Done)
        }
        Hold::Release { hold, delay, why } => {
            release(context, hold, &ReleaseHold { reason: why.reason, delay }).doing("release the hold")
        }
        Hold::List { due_for_review, released, part } => {
            let show = match (due_for_review, released) {
                (true, _) => HoldsWanted::DueForReview,
                (false, true) => HoldsWanted::Released,
                (false, false) => HoldsWanted::InForce,
            };
            let query = HoldQuery { after: part.after.map(Cursor), limit: part.limit, show };
            context.list(&Call::to(Operation::HoldList, &[]).asking(&query), COLUMNS).doing("list the holds")?;
            Ok(ExitCode::Done)
        }
    }
}

fn wanted(name: String, cover: Cover, reason: String) -> Result<PlaceHold, Cause> {
    let filter = match cover.filter_file {
        Some(path) => Some(read_filter(&path)?),
        None => cover.filter,
    };
    let standing = HoldStanding {
        kinds: cover.kinds,
        sources: cover.sources,
        seen_from: cover.seen_from,
        seen_until: cover.seen_until,
        filter,
    };
    Ok(PlaceHold {
        name,
        reason,
        owner: cover.owner,
        reference: cover.reference,
        review_at: cover.review_at,
        entities: cover.entities,
        requests: cover.requests,
        mailboxes: cover.mailboxes,
        policies: cover.policies,
        standing: Some(standing).filter(|standing| *standing != HoldStanding::default()),
    })
}

/// Reads a filter from a file; the daemon says what is wrong with it, also that it is too long.
fn read_filter(path: &Path) -> Result<String, Cause> {
    let bytes = files::read_bounded(path, FILTER_BYTES_MAX as u64 + 1)?;
    String::from_utf8(bytes).map_err(|_| {
        let message = format!("{} is not UTF-8; nothing was placed", path.display());
        refuse(ErrorCode::BadRequest, message)
    })
}

fn place(context: &mut Context, wanted: &PlaceHold) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::HoldPlace, &[]).with(wanted))?;
    let hold = HoldId(accepted.position);
    context.present(&json!({ "hold": hold }))?;
    context.next(&format!("retentionctl hold show {hold}"));
    Ok(ExitCode::Done)
}

fn release(context: &mut Context, hold: HoldId, wanted: &ReleaseHold) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::HoldRelease, &[&hold]).with(wanted))?;
    context.present(&json!({ "hold": hold, "released_by_event": accepted.position }))?;
    context.next("retentionctl hold list --released");
    Ok(ExitCode::Done)
}

pub(super) fn pause(context: &mut Context, operation: Operation, args: PauseArgs) -> Result<ExitCode, Failure> {
    let doing = if operation == Operation::Pause { "pause" } else { "resume" };
    let Paused { all: _, policy, mailbox, request } = args.what;
    let wanted = PauseDisposal { policy, mailbox, request, reason: args.why.reason };
    let accepted: Accepted = context.client.typed(&Call::to(operation, &[]).with(&wanted)).doing(doing)?;
    context.present(&json!({ "event": accepted.position })).doing(doing)?;
    context.next("retentionctl status");
    Ok(ExitCode::Done)
}
