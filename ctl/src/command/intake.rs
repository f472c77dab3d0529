//! `intake`.

use retention_core::control::{ExitCode, Operation};

use super::{Call, Context};
use crate::args::Intake;
use crate::exit::{Doing, Failure};

pub(super) const COLUMNS: &[&str] =
    &["intake", "source", "started_at", "end", "rows", "added", "changed", "unchanged", "rejected", "absent"];

pub(super) const LEFT_COLUMNS: &[&str] = &["source", "name", "why", "since", "message"];

pub(super) fn execute(context: &mut Context, command: Intake) -> Result<ExitCode, Failure> {
    match command {
        Intake::List(part) => context.plain_list(Operation::IntakeList, part, COLUMNS).doing("list the intakes"),
        Intake::Left(part) => {
            context.plain_list(Operation::IntakeLeft, part, LEFT_COLUMNS).doing("list what is not taken in")
        }
        Intake::Show { intake } => {
            context.show(&Call::to(Operation::IntakeShow, &[&intake])).doing("show the intake")?;
            Ok(ExitCode::Done)
        }
    }
}
