//! `audit`.

use retention_core::control::{AuditQuery, Cursor, ExitCode, Operation, Order};

use super::{Call, Context};
use crate::args::{Audit, AuditArgs};
use crate::exit::{Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["position", "recorded_at", "kind", "actor", "entity", "run", "summary"];

pub(super) fn execute(context: &mut Context, command: Audit) -> Result<ExitCode, Failure> {
    let Audit::Query(asked) = command;
    let call = Call::to(Operation::AuditQuery, &[]).asking(&query(asked));
    context.list(&call, COLUMNS).doing("ask the event log")?;
    Ok(ExitCode::Done)
}

fn query(asked: AuditArgs) -> AuditQuery {
    AuditQuery {
        after: asked.part.after.map(Cursor),
        limit: asked.part.limit,
        since: asked.since,
        until: asked.until,
        kind: asked.kind,
        actor: asked.actor,
        entity: asked.entity,
        run: asked.run,
        policy: asked.policy,
        order: if asked.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
    }
}
