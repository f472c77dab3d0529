//! Completions and man pages, made from the command line itself.

use std::path::Path;

use retention_core::control::ExitCode;

use super::Context;
use crate::args;
use crate::exit::{Cause, Doing, Failure};

pub(super) fn completions(context: &mut Context, shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "retentionctl", &mut script);
    let text = String::from_utf8_lossy(&script);
    context.renderer.text(&text).and_then(|()| context.renderer.flush()).doing("write the completions")?;
    Ok(ExitCode::Done)
}

pub(super) fn man(dir: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(args::command(), dir)
        .map_err(|source| Cause::File { path: dir.to_owned(), doing: "written", source })
        .doing("write the man pages")?;
    Ok(ExitCode::Done)
}
