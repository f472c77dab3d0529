//! `document`: what a compliance officer needs, made from the policies.

use retention_core::control::{Checked, ErrorCode, ExitCode, Line, Operation, PolicyDetail, PolicyRow, StreamEnd};
use retention_core::policy::{self, DocumentForm, PolicySet};

use super::policy::{finding, read, set_of};
use super::status::findings;
use super::{Call, Context, refuse};
use crate::args::document::{Document, DocumentArgs, Form};
use crate::exit::{Cause, Doing, Failure};

pub(super) fn execute(context: &mut Context, command: Document) -> Result<ExitCode, Failure> {
    let (document, args) = match command {
        Document::Ropa(args) => (policy::Document::Ropa, args),
        Document::DeletionConcept(args) => (policy::Document::DeletionConcept, args),
        Document::PrivacyNotice(args) => (policy::Document::PrivacyNotice, args),
    };
    write(context, document, &args).doing("write the document")
}

fn write(context: &mut Context, document: policy::Document, args: &DocumentArgs) -> Result<ExitCode, Cause> {
    let files = match &args.dir {
        Some(dir) => read(dir)?,
        None => active(context)?,
    };
    let set: PolicySet = match set_of(&files) {
        Ok(set) => set,
        Err(problems) => return findings(context, &Checked { findings: problems.iter().map(finding).collect() }),
    };
    let form = match args.format {
        Form::Markdown => DocumentForm::Markdown,
        Form::Csv => DocumentForm::Csv,
    };
    context.renderer.text(&document.of(&set, form))?;
    context.renderer.flush()?;
    Ok(ExitCode::Done)
}

/// Returns the texts of the active policies. They are asked for one by one, so a set that changes meanwhile is refused:
/// half of an old and half of a new one was never active.
fn active(context: &Context) -> Result<Vec<(String, String)>, Cause> {
    let mut rows: Vec<PolicyRow> = Vec::new();
    let _end: StreamEnd = context.client.stream(&Call::to(Operation::PolicyList, &[]), |line| {
        if let Line::Row(row) = line {
            rows.push(serde_json::from_value(row).map_err(|_| Cause::Unreadable)?);
        }
        Ok(())
    })?;
    let mut files = Vec::new();
    for row in rows {
        let detail: PolicyDetail = context.client.typed(&Call::to(Operation::PolicyShow, &[&row.policy]))?;
        if detail.policy.digest != row.digest {
            let message = "the active policies changed while they were read; ask again";
            return Err(refuse(ErrorCode::DigestMismatch, message));
        }
        files.push((row.policy, detail.text));
    }
    Ok(files)
}
