//! `store`.

use retention_core::control::{ExitCode, Operation};

use super::{Bar, Call, Context, text};
use crate::args::Store;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["part", "state", "checked", "code", "message"];

pub(super) fn execute(context: &mut Context, command: Store) -> Result<ExitCode, Failure> {
    match command {
        Store::Verify => parts(context, &Call::to(Operation::StoreVerify, &[])).doing("verify the store"),
        Store::Compact => parts(context, &Call::to(Operation::StoreCompact, &[])).doing("compact the store"),
        Store::Rebuild => parts(context, &Call::to(Operation::StoreRebuild, &[])).doing("rebuild the store"),
    }
}

/// Shows what a verification finds; 20 when anything is not as it was written.
pub(super) fn parts(context: &mut Context, call: &Call) -> Result<ExitCode, Cause> {
    let mut is_intact = true;
    let mut list = context.renderer.list(COLUMNS);
    Bar::new(&context.globals).over(&context.client, call, |bar, row| {
        is_intact &= text(&row, "state") == "intact";
        bar.suspend(|| list.row(&row))
    })?;
    list.end()?;
    Ok(if is_intact { ExitCode::Done } else { ExitCode::VerificationFailed })
}
