//! `restriction`.

use retention_core::control::{
    Accepted, Cursor, ExitCode, LiftRestriction, Operation, PlaceRestriction, RestrictionQuery, RestrictionsWanted,
};
use retention_core::id::RestrictionId;
use serde_json::json;

use super::{Call, Context};
use crate::args::subject::Restriction;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &[
    "restriction",
    "ground",
    "policy",
    "request",
    "count",
    "entities",
    "reason",
    "placed_by",
    "placed_at",
    "lifted_at",
];

pub(super) fn execute(context: &mut Context, command: Restriction) -> Result<ExitCode, Failure> {
    match command {
        Restriction::Place { what, ground, why } => {
            let (entities, request) = (what.records, what.request);
            let wanted = PlaceRestriction { entities, request, ground, reason: why.reason };
            place(context, &wanted).doing("place the restriction")
        }
        Restriction::List { lifted, part } => {
            let show = if lifted { RestrictionsWanted::Lifted } else { RestrictionsWanted::InForce };
            let query = RestrictionQuery { after: part.after.map(Cursor), limit: part.limit, show };
            let call = Call::to(Operation::RestrictionList, &[]).asking(&query);
            context.list(&call, COLUMNS).doing("list the restrictions")?;
            Ok(ExitCode::Done)
        }
        Restriction::Lift { restriction, records, why } => {
            let wanted = LiftRestriction { entities: records, reason: why.reason };
            lift(context, restriction, &wanted).doing("lift the restriction")
        }
    }
}

fn place(context: &mut Context, wanted: &PlaceRestriction) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::RestrictionPlace, &[]).with(wanted))?;
    context.present(&json!({ "restriction": RestrictionId(accepted.position) }))?;
    context.next("retentionctl restriction list");
    Ok(ExitCode::Done)
}

fn lift(context: &mut Context, restriction: RestrictionId, wanted: &LiftRestriction) -> Result<ExitCode, Cause> {
    let call = Call::to(Operation::RestrictionLift, &[&restriction]).with(wanted);
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "restriction": restriction, "lifted_by_event": accepted.position }))?;
    Ok(ExitCode::Done)
}
