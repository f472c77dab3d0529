//! `mailbox`.

use retention_core::batch::{self, MigrationKind, Settings, Sheet, register};
use retention_core::control::{
    Accepted, AddMailbox as WireMailbox, AddMailboxes, Because, Checked, Cursor, ErrorBody, ErrorCode, ExitCode,
    Finding, Line, MAILBOXES_PER_REQUEST_MAX, MailboxFinding, MailboxQuery, MailboxesAdded, MigrateMailbox, Operation,
    Severity,
};
use retention_core::id::{Digest, EntityId, MigrationId};
use retention_core::mailbox::LoginForm;
use serde_json::json;

use super::{Call, Context, files, query, refuse, status};
use crate::args::Part;
use crate::args::mailbox::{AddMailbox, ImportBatch, Mailbox, Which};
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &[
    "mailbox",
    "server",
    "address",
    "has_credential",
    "registered_at",
    "scanned_at",
    "messages",
    "failed",
    "full_access",
];

pub(super) const PERMISSION_COLUMNS: &[&str] =
    &["folder", "identifier", "holder", "rights", "full_access", "grant", "seen_at"];

pub(super) const MIGRATION_COLUMNS: &[&str] =
    &["migration", "source", "target", "state", "code", "folders", "messages", "left_out", "missing", "requested_at"];

pub(super) const CHECK_COLUMNS: &[&str] = &["check", "severity", "code", "message", "hint"];

pub(super) fn execute(context: &mut Context, command: Mailbox) -> Result<ExitCode, Failure> {
    match command {
        Mailbox::Add(wanted) => add(context, *wanted).doing("register the mailbox"),
        Mailbox::Import(wanted) => import(context, &wanted).doing("import the batch"),
        Mailbox::List { which, part } => {
            context.list(&list_call(which, part), COLUMNS).doing("list the mailboxes")?;
            Ok(ExitCode::Done)
        }
        Mailbox::Show { mailbox } => {
            context.show(&Call::to(Operation::MailboxShow, &[&mailbox])).doing("show the mailbox")?;
            context.next(&format!("retentionctl mailbox check {mailbox}"));
            Ok(ExitCode::Done)
        }
        Mailbox::Check { mailbox } => check(context, mailbox).doing("check the mailbox"),
        Mailbox::Scan { mailbox } => {
            let call = Call::to(Operation::MailboxScan, &[&mailbox]);
            context.show(&call).doing("have the mailbox looked at")?;
            context.next(&format!("retentionctl mailbox show {mailbox}"));
            Ok(ExitCode::Done)
        }
        Mailbox::Permissions { mailbox, part } => {
            let call = Call::to(Operation::MailboxPermissions, &[&mailbox]).asking(&query(part));
            context.list(&call, PERMISSION_COLUMNS).doing("list the permissions")?;
            Ok(ExitCode::Done)
        }
        Mailbox::Migrate { source, target, exclude, max_bytes } => {
            let wanted = MigrateMailbox { source, target, exclude, max_bytes };
            migrate(context, &wanted).doing("ask for the migration")
        }
        Mailbox::Migrations { migration: Some(id), .. } => {
            context.show(&Call::to(Operation::MigrationShow, &[&id])).doing("show the migration")?;
            Ok(ExitCode::Done)
        }
        Mailbox::Migrations { migration: None, part } => {
            context.plain_list(Operation::MigrationList, part, MIGRATION_COLUMNS).doing("list the migrations")
        }
        Mailbox::StopMigration { migration, why } => {
            let call = Call::to(Operation::MigrationStop, &[&migration]).with(&Because { reason: why.reason });
            context.show(&call).doing("stop the migration")?;
            context.next(&format!("retentionctl mailbox migrations {migration}"));
            Ok(ExitCode::Done)
        }
        Mailbox::Remove { mailbox, why } => remove(context, mailbox, why.reason).doing("remove the mailbox"),
    }
}

/// Returns the call for those of the registered mailboxes that are meant.
pub(super) fn list_call(which: Which, part: Part) -> Call {
    let Which { server, address } = which;
    let query = MailboxQuery { after: part.after.map(Cursor), limit: part.limit, server, address };
    Call::to(Operation::MailboxList, &[]).asking(&query)
}

fn migrate(context: &mut Context, wanted: &MigrateMailbox) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::MailboxMigrate, &[]).with(wanted))?;
    let migration = MigrationId(accepted.position);
    context.present(&json!({ "migration": migration }))?;
    context.next(&format!("retentionctl mailbox migrations {migration}"));
    Ok(ExitCode::Done)
}

fn add(context: &mut Context, wanted: AddMailbox) -> Result<ExitCode, Cause> {
    let secret = match (wanted.password_file, wanted.ask_password) {
        (None, false) => None,
        (file, _) => Some(files::password(file.as_deref(), "Password: ")?),
    };
    let one = WireMailbox {
        server: wanted.server,
        address: wanted.address,
        user: wanted.user,
        login: wanted.login,
        separator: wanted.separator,
        domain: wanted.domain,
        admin: wanted.admin,
        root: wanted.root,
        secret: secret.map(|secret| secret.to_string()),
    };
    let request = AddMailboxes { mailboxes: vec![one], batch: None };
    let added: MailboxesAdded = context.client.typed(&Call::to(Operation::MailboxAdd, &[]).with(&request))?;
    let mailbox = added.mailboxes.first().copied().ok_or(Cause::Unreadable)?;
    context.present(&json!({ "mailbox": mailbox }))?;
    context.next(&format!("retentionctl mailbox check {mailbox}"));
    Ok(ExitCode::Done)
}

pub(super) fn import(context: &mut Context, wanted: &ImportBatch) -> Result<ExitCode, Cause> {
    let ImportBatch { file, server, reading, keep_file } = wanted;
    let keep = *keep_file;
    let bytes = files::read(file)?;
    let name = file.display().to_string();
    let sheet = batch::sheet::read(&bytes, reading.named()).map_err(|error| {
        let message = format!("{name}: {error}; nothing was registered");
        Cause::Answer(ErrorBody::saying(ErrorCode::ConfigInvalid, message).hint(error.hint()))
    })?;
    let settings = Settings { kind: Some(MigrationKind::Imap), ..Settings::default() };
    let checked = batch::check(&[(name.as_str(), &sheet)], &settings);
    if let Some(bad) = checked.iter().find(|checked| !checked.is_usable()) {
        let words = super::batch::words(&name, &sheet, bad, reading, "");
        let mut findings: Vec<Finding> =
            bad.problems.iter().map(|problem| super::batch::finding(&name, problem, &words)).collect();
        findings.sort_by_key(|finding| finding.severity);
        context.say("nothing was registered, and the file was left as it is");
        return status::findings(context, &Checked { findings });
    }
    let mailboxes = wire(&sheet, server)
        .ok_or_else(|| refuse(ErrorCode::BadRequest, format!("{name} is no IMAP batch; nothing was registered")))?;
    if !keep {
        files::can_be_destroyed(file)?;
    }
    let content = Digest::of(&bytes);
    let mut all: Vec<EntityId> = Vec::with_capacity(mailboxes.len());
    let mut rest = mailboxes.into_iter().peekable();
    while rest.peek().is_some() {
        let part: Vec<WireMailbox> = rest.by_ref().take(MAILBOXES_PER_REQUEST_MAX).collect();
        let request = AddMailboxes { mailboxes: part, batch: Some(content) };
        let added: Result<MailboxesAdded, Cause> =
            context.client.typed(&Call::to(Operation::MailboxAdd, &[]).with(&request));
        if added.is_err() && !all.is_empty() {
            context.note(&format!(
                "the first {} mailboxes of {name} are registered, and the file was left as it is; what is said now is \
                 about those behind them, and counts from there",
                all.len()
            ));
        }
        all.extend(added?.mailboxes);
    }
    let destroyed = if keep { Ok(false) } else { files::destroy(file, content).map(|()| true) };
    context.present(&json!({
        "mailboxes": all.len(), "first": all.first(), "last": all.last(), "batch": content,
        "file_destroyed": matches!(destroyed, Ok(true)),
    }))?;
    // What was registered is told first.
    destroyed?;
    if keep {
        context.say(&format!("{name} still holds the passwords in the clear"));
    }
    context.next("retentionctl mailbox list");
    Ok(ExitCode::Done)
}

fn wire(sheet: &Sheet, server: &str) -> Option<Vec<WireMailbox>> {
    let mailboxes = register::mailboxes(sheet)?;
    let one = |one: register::BatchMailbox| {
        let (separator, domain) = match &one.form {
            LoginForm::DovecotMaster { separator } => (Some(*separator), None),
            LoginForm::Exchange { domain } => (None, Some(domain.clone())),
            _ => (None, None),
        };
        WireMailbox {
            server: server.to_owned(),
            address: one.address,
            user: Some(one.user),
            login: Some(one.form.word().to_owned()),
            separator,
            domain,
            admin: one.admin,
            root: one.root,
            secret: Some(one.password.to_string()),
        }
    };
    Some(mailboxes.into_iter().map(one).collect())
}

/// Shows what works; 78 when something is missing.
fn check(context: &mut Context, mailbox: EntityId) -> Result<ExitCode, Cause> {
    let mut is_usable = true;
    let call = Call::to(Operation::MailboxCheck, &[&mailbox]);
    let mut list = context.renderer.list(CHECK_COLUMNS);
    context.client.stream(&call, |line| match line {
        Line::Row(row) => {
            let finding: MailboxFinding = serde_json::from_value(row.clone()).map_err(|_| Cause::Unreadable)?;
            is_usable &= finding.severity != Severity::Error;
            list.row(&row)
        }
        Line::Progress(_) | Line::Error(_) | Line::End(_) => Ok(()),
    })?;
    list.end()?;
    Ok(if is_usable { ExitCode::Done } else { ExitCode::Invalid })
}

fn remove(context: &mut Context, mailbox: EntityId, reason: String) -> Result<ExitCode, Cause> {
    let call = Call::to(Operation::MailboxRemove, &[&mailbox]).with(&Because { reason });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "mailbox": mailbox, "removed_by_event": accepted.position }))?;
    Ok(ExitCode::Done)
}
