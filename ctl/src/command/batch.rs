//! `batch`: migration batches. The rules are in the core; here are the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use retention_core::batch::command::{CommandSettings, new_migration_batch};
use retention_core::batch::make::{Admin, Mailbox, Origin, check_login, make_addresses, make_imap};
use retention_core::batch::rule::Words;
use retention_core::batch::split::{Group, Limits};
use retention_core::batch::write::{errors_of, file_of};
use retention_core::batch::{
    self, Checked, MigrationKind, Problem, Rule, Settings, Sheet, UnknownColumns, Weight, convert, split,
};
use retention_core::control::{ErrorBody, ErrorCode, ExitCode, Finding, Line, MailboxRow, Severity};
use serde_json::json;

use super::{Context, files, refuse, status};
use crate::args::Part;
use crate::args::batch::{Batch, Make, Reading, Rules};
use crate::args::mailbox::Which;
use crate::exit::{Cause, Doing, Failure};

const PIECE_COLUMNS: &[&str] = &["file", "rows", "bytes"];
const CHANGE_COLUMNS: &[&str] = &["file", "change"];

pub(super) fn execute(context: &mut Context, command: Batch) -> Result<ExitCode, Failure> {
    match command {
        Batch::Check { files, reading, rules, errors, good_rows } => {
            let wanted = Wanted { errors, good_rows };
            check(context, &files, &reading, rules, &wanted).doing("check the batch")
        }
        Batch::Split { file, reading, rules, into, rows, bytes, by_letter, by } => {
            let asked = Asked { rows, bytes, by_letter, by };
            split_file(context, &file, &reading, rules, &into, &asked).doing("split the batch")
        }
        Batch::Make(make) => make_file(context, *make).doing("make the batch"),
        Batch::Convert { file, reading, kind, into } => {
            convert_file(context, &file, &reading, kind, &into).doing("convert the batch")
        }
        Batch::Import(wanted) => super::mailbox::import(context, &wanted).doing("import the batch"),
        Batch::Command { file, kind, name, endpoint, delivery_domain, target_databases, allow_unknown_columns } => {
            let unknown_columns = unknown_columns(allow_unknown_columns);
            let settings = CommandSettings { name, file, endpoint, delivery_domain, target_databases, unknown_columns };
            write_command(context, kind, &settings).doing("write the command")
        }
    }
}

fn unknown_columns(allowed: bool) -> UnknownColumns {
    if allowed { UnknownColumns::Ignored } else { UnknownColumns::Refused }
}

impl From<Rules> for Settings {
    fn from(rules: Rules) -> Self {
        Self {
            kind: rules.kind,
            of_batch: rules.of_batch.into_iter().collect::<BTreeSet<String>>(),
            unknown_columns: unknown_columns(rules.allow_unknown_columns),
            allowed_column: None,
        }
    }
}

/// What a check writes beside its answer.
struct Wanted {
    errors: Option<PathBuf>,
    good_rows: Option<PathBuf>,
}

fn check(
    context: &mut Context,
    paths: &[PathBuf],
    reading: &Reading,
    rules: Rules,
    wanted: &Wanted,
) -> Result<ExitCode, Cause> {
    let paths = files::expanded(paths)?;
    let mut sheets: Vec<(String, Sheet)> = Vec::new();
    let mut findings = Vec::new();
    for path in &paths {
        let name = path.display().to_string();
        let bytes = files::read(path)?;
        match batch::sheet::read(&bytes, reading.named()) {
            Ok(sheet) => sheets.push((name, sheet)),
            Err(error) => findings.push(Finding {
                severity: Severity::Error,
                file: name,
                line: None,
                column: None,
                message: error.to_string(),
                hint: Some(error.hint()),
            }),
        }
    }
    let said = rules.words();
    let named: Vec<(&str, &Sheet)> = sheets.iter().map(|(name, sheet)| (name.as_str(), sheet)).collect();
    let all = batch::check(&named, &rules.into());
    for ((name, sheet), checked) in named.iter().zip(&all) {
        let words = words(name, sheet, checked, reading, &said);
        findings.extend(checked.problems.iter().map(|problem| finding(name, problem, &words)));
    }
    findings.sort_by_key(|finding| finding.severity);
    if wanted.errors.is_some() || wanted.good_rows.is_some() {
        match (named.as_slice(), all.as_slice()) {
            ([(_, sheet)], [checked]) => write_beside(context, sheet, checked, wanted)?,
            // What cannot be read at all is among the findings.
            ([], []) if !findings.is_empty() => context.note("no row could be read, so none was written"),
            _ => return Err(refuse(ErrorCode::BadRequest, "--errors and --good-rows need exactly one readable file")),
        }
    }
    status::findings(context, &retention_core::control::Checked { findings })
}

fn write_beside(context: &Context, sheet: &Sheet, checked: &Checked, wanted: &Wanted) -> Result<(), Cause> {
    if let Some(path) = &wanted.errors {
        let key = checked.detection.kind().map_or("EmailAddress", MigrationKind::key);
        files::write_new(path, &errors_of(sheet, key, &checked.problems))?;
        context.say(&format!("bad rows are listed in {}", path.display()));
    }
    if let Some(path) = &wanted.good_rows {
        if checked.is_refused_whole() {
            context.note("the file as a whole would be refused, so none of its rows is good and none was written");
            return Ok(());
        }
        let good = sheet.rows.iter().enumerate().filter(|(row, _)| !checked.bad_rows.contains(row));
        files::write_new(path, &file_of(&sheet.header, good.map(|(_, row)| row)))?;
        context.say(&format!("good rows are in {}; it holds their passwords", path.display()));
    }
    Ok(())
}

/// What a suggested command names, so that it runs as it stands.
pub(super) fn words(name: &str, sheet: &Sheet, checked: &Checked, reading: &Reading, rules: &str) -> Words {
    let stem = Path::new(name).with_extension("");
    let beside = |ending: &str| files::shell_word(&format!("{}{ending}", stem.display()));
    Words {
        file: files::shell_word(name),
        reading: reading.words(),
        rules: rules.to_owned(),
        kind: checked.detection.kind(),
        converted: beside("-converted.csv"),
        pieces: beside("-parts"),
        needs_mending_first: !convert::refusals(sheet).is_empty(),
    }
}

pub(super) fn finding(file: &str, problem: &Problem, words: &Words) -> Finding {
    let severity = match problem.rule.weight() {
        Weight::Error => Severity::Error,
        Weight::Warning => Severity::Warning,
        Weight::Note => Severity::Note,
    };
    Finding {
        severity,
        file: file.to_owned(),
        line: problem.line,
        column: problem.column.map(|column| column as u64),
        message: problem.rule.to_string(),
        hint: problem.rule.hint_in(words),
    }
}

fn open(path: &Path, reading: &Reading) -> Result<Sheet, Cause> {
    let bytes = files::read(path)?;
    batch::sheet::read(&bytes, reading.named()).map_err(|error| {
        let body = retention_core::control::ErrorBody::saying(ErrorCode::ConfigInvalid, error.to_string());
        Cause::Answer(body.hint(error.hint()))
    })
}

/// What a split is asked for.
struct Asked {
    rows: Option<u64>,
    bytes: Option<u64>,
    by_letter: bool,
    by: Option<String>,
}

fn split_file(
    context: &mut Context,
    path: &Path,
    reading: &Reading,
    rules: Rules,
    into: &Path,
    asked: &Asked,
) -> Result<ExitCode, Cause> {
    let sheet = open(path, reading)?;
    // Before the rules: otherwise the column that is meant would be called unknown.
    if asked.by.as_ref().is_some_and(|by| sheet.column(by).is_none()) {
        let message = "there is no column of the name that --by says, letter by letter; nothing was split";
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    let said = rules.words();
    let settings = Settings { allowed_column: asked.by.clone(), ..rules.into() };
    let name = path.display().to_string();
    let mut checked = batch::check(&[(&name, &sheet)], &settings);
    let Some(checked) = checked.pop() else { return Ok(ExitCode::Unexpected) };
    // Its size is why it is split.
    let stops = |rule: &Rule| {
        rule.weight() == Weight::Error && !matches!(rule, Rule::TooManyRows { .. } | Rule::TooManyBytes { .. })
    };
    if checked.problems.iter().any(|problem| stops(&problem.rule)) {
        let words = words(&name, &sheet, &checked, reading, &said);
        let findings = checked.problems.iter().filter(|problem| stops(&problem.rule));
        let findings = findings.map(|problem| finding(&name, problem, &words)).collect();
        context.say("nothing was split: mend these first");
        return status::findings(context, &retention_core::control::Checked { findings });
    }
    let Some(kind) = checked.detection.kind() else { return Ok(ExitCode::Invalid) };
    let column = |name: &str| {
        let message = format!("there is no column of the name that --by says; --by-letter needs {}", kind.key());
        sheet.column(name).ok_or_else(|| refuse(ErrorCode::BadRequest, message))
    };
    let group = match &asked.by {
        Some(by) => Group::Value(column(by)?),
        None if asked.by_letter => Group::Letter(column(kind.key())?),
        None => Group::None,
    };
    let left_out = match (&asked.by, group) {
        (Some(by), Group::Value(number)) if kind.attribute(by).is_none() => Some(number),
        _ => None,
    };
    let limits = Limits {
        rows_max: asked.rows.unwrap_or(u64::MAX).min(kind.rows_max().unwrap_or(u64::MAX)),
        bytes_max: asked.bytes.unwrap_or(u64::MAX).min(kind.bytes_max().unwrap_or(batch::FILE_BYTES_MAX as u64)),
    };
    let pieces = split::split(&sheet, group, limits, left_out)
        .map_err(|error| refuse(ErrorCode::BadRequest, error.to_string()))?;
    files::make_dir(into)?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("batch");
    let targets: Vec<PathBuf> = pieces.iter().map(|piece| into.join(format!("{stem}-{}.csv", piece.label))).collect();
    files::none_exists(&targets)?;
    let mut list = context.renderer.list(PIECE_COLUMNS);
    for (piece, target) in pieces.iter().zip(&targets) {
        files::write_new(target, &piece.bytes)?;
        let file = target.display().to_string();
        list.row(&json!({"file": file, "rows": piece.rows, "bytes": piece.bytes.len()}))?;
    }
    list.end()?;
    let into = files::shell_word(&into.display().to_string());
    context.next(&format!("retentionctl batch check {into} --kind {kind}{said}"));
    Ok(ExitCode::Done)
}

fn convert_file(
    context: &mut Context,
    path: &Path,
    reading: &Reading,
    kind: Option<MigrationKind>,
    into: &Path,
) -> Result<ExitCode, Cause> {
    let sheet = open(path, reading)?;
    let name = path.display().to_string();
    let converted = match convert::convert(&sheet, kind) {
        Ok(converted) => converted,
        Err(errors) => {
            let finding = |error: &convert::ConvertError| {
                let (line, column) = error.place();
                let (severity, file) = (Severity::Error, name.clone());
                Finding { severity, file, line, column, message: error.to_string(), hint: None }
            };
            let findings = errors.iter().map(finding).collect();
            context.say("nothing was converted: it could only be guessed what is meant");
            return status::findings(context, &retention_core::control::Checked { findings });
        }
    };
    files::write_new(into, &converted.bytes)?;
    let mut list = context.renderer.list(CHANGE_COLUMNS);
    for change in &converted.changes {
        list.row(&json!({"file": into.display().to_string(), "change": change.to_string()}))?;
    }
    list.end()?;
    if converted.changes.is_empty() {
        context.say("nothing had to be changed but line ends and quotes");
    }
    let into = files::shell_word(&into.display().to_string());
    let kind = kind.map_or_else(String::new, |kind| format!(" --kind {kind}"));
    context.next(&format!("retentionctl batch check {into}{kind}"));
    Ok(ExitCode::Done)
}

fn make_file(context: &mut Context, make: Make) -> Result<ExitCode, Cause> {
    let Make { list, server, address, reading, kind, form, admin, .. } = make;
    // What is wrong with the command line itself is refused before anybody is named or asked for a password.
    files::none_exists(std::slice::from_ref(&make.into))?;
    let file = make.into.display().to_string();
    let command = match make.name {
        None => None,
        Some(name) => {
            let settings = CommandSettings {
                name,
                file: file.clone(),
                endpoint: make.endpoint,
                delivery_domain: make.delivery_domain,
                target_databases: make.target_databases,
                unknown_columns: UnknownColumns::Refused,
            };
            Some(new_migration_batch(kind, &settings).map_err(cannot_make)?)
        }
    };
    if let (MigrationKind::Imap, Some(form), Some(name)) = (kind, form, &admin) {
        check_login(form, name, make.domain.as_deref()).map_err(cannot_make)?;
    }
    let mailboxes = match list {
        Some(list) => mailboxes_of(&list, &reading)?,
        None => registered(context, Which { server, address })?,
    };
    let mut holds_password = false;
    let bytes = match (kind, form, admin) {
        (MigrationKind::Imap, Some(form), Some(name)) => {
            holds_password = true;
            let password = files::password(make.password_file.as_deref(), "Password of the administrator: ")?;
            make_imap(&mailboxes, &Admin { form, name, password, domain: make.domain, root: make.root })
        }
        (kind, ..) => make_addresses(&mailboxes, kind),
    };
    let bytes = bytes.map_err(cannot_make)?;
    files::write_new(&make.into, &bytes)?;
    let mut answer = json!({"file": file, "rows": mailboxes.len(), "bytes": bytes.len()});
    if let Some(command) = command.as_ref().filter(|_| !context.renderer.is_for_people()) {
        answer["command"] = json!(command);
    }
    context.present(&answer)?;
    let word = files::shell_word(&file);
    if holds_password {
        context.note(&format!(
            "{file} holds the password of the administrator in the clear, in every row: let nobody else read it, \
             overwrite and remove it when the migration has ended (shred -u {word}), and change the password then"
        ));
    }
    if kind == MigrationKind::Offboarding {
        context.say("the file names no TargetDatabase, so the batch has to: -TargetDatabases");
    }
    let is_too_large = kind.rows_max().is_some_and(|max| mailboxes.len() as u64 > max)
        || kind.bytes_max().is_some_and(|max| bytes.len() as u64 > max);
    match command {
        _ if is_too_large => {
            context.note(&format!("{file} is larger than a batch of this kind may be, and has to be split first"));
            context.next(&format!("retentionctl batch split {word} --kind {kind} --into DIR"));
        }
        None => context.next(&format!("retentionctl batch command {word} --kind {kind} --name …")),
        Some(command) if context.renderer.is_for_people() => {
            context.renderer.text(&command)?;
            context.renderer.flush()?;
        }
        Some(_) => {}
    }
    Ok(ExitCode::Done)
}

fn cannot_make(error: impl std::error::Error) -> Cause {
    refuse(ErrorCode::BadRequest, error.to_string())
}

/// Asks the daemon for its registered mailboxes: addresses, names at the source and folders, and no secret.
fn registered(context: &Context, which: Which) -> Result<Vec<Mailbox>, Cause> {
    let call = super::mailbox::list_call(which, Part { after: None, limit: None });
    let mut mailboxes = Vec::new();
    context.client.stream(&call, |line| {
        let Line::Row(row) = line else { return Ok(()) };
        let row: MailboxRow = serde_json::from_value(row).map_err(|_| Cause::Unreadable)?;
        let Some(address) = row.address else {
            let message = format!("the record of {} cannot be opened any more, so it has no address", row.mailbox);
            return Err(refuse(ErrorCode::WrongState, format!("{message}; nothing was written")));
        };
        // Where no other name was registered, the server knows the mailbox by its address.
        let user = Some(row.user.unwrap_or_else(|| address.clone()));
        mailboxes.push(Mailbox { origin: Origin::Registered(row.mailbox), address, user, root: row.root });
        Ok(())
    })?;
    if mailboxes.is_empty() {
        let body = ErrorBody::saying(ErrorCode::NotFound, "no registered mailbox is meant; nothing was written");
        return Err(Cause::Answer(body.hint("retentionctl mailbox list")));
    }
    Ok(mailboxes)
}

/// Reads a list: one address a line, or CSV with a header.
fn mailboxes_of(path: &Path, reading: &Reading) -> Result<Vec<Mailbox>, Cause> {
    let sheet = open(path, reading)?;
    // Whoever stands in such a row would be left out without a word.
    if let Some(error) = convert::unreadable(&sheet).first() {
        return Err(refuse(ErrorCode::BadRequest, format!("{error}; nothing was written")));
    }
    let Some(address) = sheet.column("EmailAddress") else {
        let lines = std::iter::once(&sheet.header).chain(sheet.rows.iter().map(|row| &row.cells));
        let mut mailboxes = Vec::new();
        for cells in lines {
            let [address] = cells.as_slice() else {
                let message = "the list has several columns and none of them is EmailAddress";
                return Err(refuse(ErrorCode::BadRequest, message));
            };
            let origin = Origin::Listed(mailboxes.len() + 1);
            mailboxes.push(Mailbox { origin, address: address.trim().to_owned(), user: None, root: None });
        }
        return Ok(mailboxes);
    };
    let (user, root) = (sheet.column("UserName"), sheet.column("UserRoot"));
    let filled = |row: &batch::Row, column: Option<usize>| {
        column.map(|column| row.cell(column)).filter(|cell| !cell.is_empty()).map(str::to_owned)
    };
    let mailbox = |(number, row): (usize, &batch::Row)| Mailbox {
        origin: Origin::Listed(number),
        address: row.cell(address).to_owned(),
        user: filled(row, user),
        root: filled(row, root),
    };
    Ok((1..).zip(&sheet.rows).map(mailbox).collect())
}

fn write_command(context: &mut Context, kind: MigrationKind, settings: &CommandSettings) -> Result<ExitCode, Cause> {
    let text = new_migration_batch(kind, settings).map_err(cannot_make)?;
    context.renderer.text(&text)?;
    context.renderer.flush()?;
    Ok(ExitCode::Done)
}
