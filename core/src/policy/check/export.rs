//! `[export]`: the forms of a bundle, how long it stays, and who can open it.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::super::syntax::{Reader, Table, Value};
use super::super::{AgeRecipient, CsvProfile, Export, ExportFormat};
use super::elsewhere;
use crate::record::Kind;
use crate::time::Period;

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Rows of a source.
    Records,
    /// Messages of mailboxes, with their text.
    Messages,
}

impl About {
    pub(super) fn of(kinds: &BTreeSet<Kind>) -> Self {
        if kinds.contains(&Kind::Message) { Self::Messages } else { Self::Records }
    }
}

pub(super) fn standard_export(about: About) -> Export {
    let mut formats = BTreeSet::from([ExportFormat::Jsonl, ExportFormat::Csv]);
    if about == About::Messages {
        formats.insert(ExportFormat::Eml);
    }
    Export { formats, csv_profile: CsvProfile::Exact, keep: None, encrypt_to: BTreeSet::new() }
}

pub(super) fn export<'t>(r: &mut Reader<'t>, mut table: Table<'t>, about: About) -> Option<Export> {
    let mut export = standard_export(about);
    if let Some(value) = table.get("required")
        && r.boolean("required", value) == Some(false)
    {
        r.bad_value(&value.span(), "required", "must be true for a purge: nothing is purged without a verified export");
    }
    if let Some(value) = table.get("formats") {
        export.formats = formats(r, value, about)?;
    }
    let profiles = [("exact", CsvProfile::Exact), ("spreadsheet_safe", CsvProfile::SpreadsheetSafe)];
    if let Some(value) = table.get("csv_profile") {
        export.csv_profile = r.choice("csv_profile", value, &profiles)?;
    }
    if let Some(value) = table.get("verify") {
        let checks: BTreeSet<&str> = r.texts("verify", value)?.into_iter().map(|(check, _)| check).collect();
        if checks != BTreeSet::from(["count", "sha256", "reread"]) {
            r.bad_value(&value.span(), "verify", "must be count, sha256 and reread, all three, before a purge");
        }
    }
    if let Some(value) = table.get("keep") {
        let keep = r.parsed::<Period>("keep", value)?;
        if !keep.is_at_least(Period::from_days(1).ok()?) {
            r.bad_value(&value.span(), "keep", "must be at least P1D: somebody has to be able to look at a bundle");
        }
        export.keep = Some(keep);
    }
    if let Some(value) = table.get("encrypt_to") {
        export.encrypt_to = encrypt_to(r, value)?;
        if export.formats.contains(&ExportFormat::Xlsx) {
            let problem = "cannot be kept with xlsx in `formats`: a workbook is made by way of files that are not encrypted; \
                           take xlsx out, and make a workbook of the CSV files once they are decrypted";
            r.bad_value(&value.span(), "encrypt_to", problem);
        }
    }
    table.finish(r, elsewhere::EXPORT);
    Some(export)
}

fn encrypt_to<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<BTreeSet<AgeRecipient>> {
    const KEY: &str = "encrypt_to";
    let texts = r.texts(KEY, value)?;
    Some(AgeRecipient::read_all(texts.into_iter(), |at, problem| {
        r.bad_value(&at.unwrap_or_else(|| value.span()), KEY, problem);
    }))
}

fn formats<'t>(r: &mut Reader<'t>, value: &'t Value<'t>, about: About) -> Option<BTreeSet<ExportFormat>> {
    let DeValue::Array(items) = value.get_ref() else {
        r.wrong_type("formats", "a list of jsonl, csv, xlsx, eml, mbox", value);
        return None;
    };
    let choices = [
        ("jsonl", ExportFormat::Jsonl),
        ("csv", ExportFormat::Csv),
        ("xlsx", ExportFormat::Xlsx),
        ("eml", ExportFormat::Eml),
        ("mbox", ExportFormat::Mbox),
    ];
    let formats: Option<BTreeSet<_>> = items.iter().map(|item| r.choice("formats", item, &choices)).collect();
    let formats = formats?;
    if !formats.contains(&ExportFormat::Jsonl) {
        r.bad_value(&value.span(), "formats", "must have jsonl: it is the only form that keeps everything");
    }
    let of_messages = [ExportFormat::Eml, ExportFormat::Mbox].iter().filter(|form| formats.contains(form)).count();
    match about {
        About::Messages if of_messages != 1 => {
            let problem = "must have either eml or mbox: without their text messages are not purged";
            r.bad_value(&value.span(), "formats", problem);
        }
        About::Messages if formats.contains(&ExportFormat::Xlsx) => {
            r.bad_value(&value.span(), "formats", "has xlsx, which messages have no form in: use csv for their list");
        }
        About::Records if of_messages > 0 => {
            r.bad_value(&value.span(), "formats", "has eml or mbox, which only kind = \"message\" has");
        }
        About::Messages | About::Records => {}
    }
    Some(formats)
}
