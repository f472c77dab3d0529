//! Typed rows by a mapping: the header is matched once, then each row costs a few copies.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::record::field::{self, CUSTOM_PREFIX};
use retention_core::record::{Cells, Column, DateRole, FieldType, Kind, Layout, Relation, SourceLink, Visibility};
use retention_core::table::Fields;
use retention_core::text::{bare, unguarded};

use super::date::{self, DateFormat};
use super::day_order::DayOrder;
use super::mapping::{
    ColumnRule, Content, DateRule, Decimal, LinkRule, MailboxFrom, Mapping, Unmapped, VisibilityFrom, nearest,
};
use crate::connector::change::{Change, Departure, Place, ReadSummary, Sink, SourceRow};
use crate::connector::defect::Defect;
use crate::connector::rejection::{FileError, RejectCode, Rejection};

/// Most mailboxes one file may tell a snapshot of; beyond, the file counts as a delta.
const MAILBOXES_MAX: usize = 100_000;

/// U+FEFF, which stands in front of a text and nowhere else.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// How the text of a cell changes on its way.
#[derive(Clone, Copy)]
enum Rewrite {
    /// Not at all.
    Keep,
    /// `1 234,50` becomes `1234.50`.
    DecimalComma,
    /// To the ISO form that the date rule of this number found, where the file writes another.
    Date(usize),
}

struct Kept {
    number: usize,
    rewrite: Rewrite,
}

enum Mailbox {
    Fixed(Option<Arc<str>>),
    Column { number: usize, last: Option<(String, Arc<str>)> },
}

/// Turns rows of one file into changes.
pub(super) struct Typist<'m> {
    mapping: &'m Mapping,
    header: Vec<String>,
    kept: Vec<Kept>,
    is_verbatim: bool,
    ids: Vec<usize>,
    mailbox: Mailbox,
    visibility: Option<usize>,
    dates: Vec<usize>,
    links: Vec<usize>,
    deleted: Option<usize>,
    seen: BTreeSet<Arc<str>>,
    notes: Vec<(Defect, Option<usize>)>,
    glued: Glued,
    /// The dates of the row at hand that are rewritten, by the number of their rule; its memory is used again.
    rewritten: Vec<Option<String>>,
    /// What was handed out so far.
    pub(super) summary: ReadSummary,
    rows_spoiled: bool,
}

/// Finds a column by name: as written, or but for blanks and what nobody sees around it.
pub(super) fn find(header: &[String], name: &str) -> Option<usize> {
    let exact = header.iter().position(|column| column == name);
    exact.or_else(|| header.iter().position(|column| bare(column) == bare(name)))
}

fn require(header: &[String], name: &str) -> Result<usize, FileError> {
    find(header, name).ok_or_else(|| FileError::ColumnMissing {
        missing: name.to_owned(),
        found: nearest(name, header.iter().map(String::as_str)),
    })
}

/// Refuses a header that names a column twice. Columns without a name may be many.
pub(super) fn check_repeats(header: &[String]) -> Result<(), FileError> {
    let mut seen = BTreeSet::new();
    for (number, name) in header.iter().enumerate() {
        if !bare(name).is_empty() && !seen.insert(bare(name)) {
            return Err(FileError::ColumnRepeated { number: number + 1 });
        }
    }
    Ok(())
}

/// Looks for headers among the rows: files that were put together bring theirs along, with or without a byte order mark.
#[derive(Default)]
pub(super) struct Glued {
    /// Whether the rows stand below another header than the first: then nobody knows what is in their cells.
    is_lost: bool,
}

impl Glued {
    /// Says why a row is none of the file. `key` is a column in which its own name is never a value.
    pub(super) fn check(
        &mut self,
        header: &[String],
        key: Option<usize>,
        fields: &impl Fields,
    ) -> Result<(), RejectCode> {
        let cell = |number: usize| {
            let cell = fields.cell(number).unwrap_or_default();
            // Behind the mark, quotes are read as they stand.
            cell.strip_prefix(BYTE_ORDER_MARK).map_or(cell, |rest| rest.trim_matches('"'))
        };
        let key = key.and_then(|number| Some((number, header.get(number)?)));
        let names_key = key.is_some_and(|(number, name)| name.eq_ignore_ascii_case(cell(number)));
        let first = cell(0);
        if names_key || header.iter().any(|name| name == first) {
            let mut row: Vec<&str> = (0..header.len()).map(cell).collect();
            if row.as_slice() == header {
                self.is_lost = false;
                return Err(RejectCode::HeaderRepeated);
            }
            let mut names: Vec<&str> = header.iter().map(String::as_str).collect();
            names.sort_unstable();
            row.sort_unstable();
            self.is_lost |= names_key || row == names;
        }
        if self.is_lost { Err(RejectCode::HeaderChanged) } else { Ok(()) }
    }
}

impl<'m> Typist<'m> {
    /// Matches a header and returns the layout with what fills it.
    pub(super) fn for_header(
        source: &str,
        mapping: &'m Mapping,
        header: &[String],
    ) -> Result<(Layout, Self), FileError> {
        check_repeats(header)?;
        let ids: Vec<usize> = mapping.id.iter().map(|name| require(header, name)).collect::<Result<_, _>>()?;
        let rules = mapping.columns.iter().map(|rule| Ok((require(header, &rule.name)?, rule)));
        let rules: Vec<(usize, &ColumnRule)> = rules.collect::<Result<_, FileError>>()?;
        let dates: Vec<usize> =
            mapping.dates.iter().map(|rule| require(header, &rule.column)).collect::<Result<_, _>>()?;
        let links: Vec<usize> =
            mapping.links.iter().map(|rule| require(header, &rule.column)).collect::<Result<_, _>>()?;
        let mailbox = match &mapping.mailbox {
            MailboxFrom::Nowhere => Mailbox::Fixed(None),
            MailboxFrom::Constant(address) => Mailbox::Fixed(Some(Arc::from(address.as_str()))),
            MailboxFrom::Column(name) => Mailbox::Column { number: require(header, name)?, last: None },
        };
        let visibility = match &mapping.visibility {
            VisibilityFrom::Constant(_) => None,
            VisibilityFrom::Column { column, .. } => Some(require(header, column)?),
        };
        let deleted = mapping.deleted.as_ref().map(|rule| require(header, &rule.column)).transpose()?;
        let mut named: BTreeSet<usize> = ids.iter().chain(&dates).chain(&links).copied().collect();
        named.extend(visibility.into_iter().chain(deleted));
        if let Mailbox::Column { number, .. } = mailbox {
            named.insert(number);
        }
        let (columns, kept) = arrange(mapping, header, &rules, &ids, &dates, &named)?;
        let is_verbatim = kept.len() == header.len() && kept.iter().all(|kept| matches!(kept.rewrite, Rewrite::Keep));
        let layout =
            Layout { source: source.to_owned(), kind: mapping.kind, columns, named_dates: mapping.named_dates.clone() };
        let typist = Self {
            mapping,
            header: header.to_vec(),
            kept,
            is_verbatim,
            ids,
            mailbox,
            visibility,
            dates,
            links,
            deleted,
            seen: BTreeSet::new(),
            notes: Vec::new(),
            glued: Glued::default(),
            rewritten: Vec::new(),
            summary: ReadSummary::default(),
            rows_spoiled: false,
        };
        Ok((layout, typist))
    }

    /// Returns what tells of each date whether its day stands first, where that is a question.
    pub(super) fn day_orders(&self) -> Vec<DayOrder<'m>> {
        let rules: &'m [DateRule] = &self.mapping.dates;
        rules.iter().zip(&self.dates).filter_map(|(rule, column)| DayOrder::of(rule, *column)).collect()
    }

    /// Returns how many columns the header has.
    pub(super) fn width(&self) -> usize {
        self.header.len()
    }

    /// Hands out a row that was rejected.
    pub(super) fn reject(&mut self, place: Place, code: RejectCode, sink: &mut Sink<'_>) -> ControlFlow<()> {
        self.summary.rejected += 1;
        self.rows_spoiled = true;
        sink(Change::Rejected(Rejection { place, code }))
    }

    /// Hands out a row, and what is odd about it.
    pub(super) fn tell(&mut self, fields: &impl Fields, place: Place, sink: &mut Sink<'_>) -> ControlFlow<()> {
        let change = match self.change(fields, place) {
            Ok(change) => change,
            Err((code, column)) => {
                self.notes.clear();
                let place = column.map_or(place, |number| place.at_column(number));
                return self.reject(place, code, sink);
            }
        };
        self.summary.rows += 1;
        self.summary.defects += self.notes.len() as u64;
        for (defect, column) in self.notes.drain(..) {
            sink(Change::Defect(defect, column.map_or(place, |number| place.at_column(number))))?;
        }
        sink(change)
    }

    /// Notes that there may be rows which nobody handed in.
    pub(super) fn miss_rows(&mut self) {
        self.rows_spoiled = true;
    }

    /// Hands out the end: what the file is a complete snapshot of.
    pub(super) fn end(&mut self, sink: &mut Sink<'_>) -> ControlFlow<()> {
        if self.mapping.content == Content::Delta {
            return ControlFlow::Continue(());
        }
        if self.rows_spoiled || self.summary.rows == 0 || self.seen.len() > MAILBOXES_MAX {
            self.summary.defects += 1;
            return sink(Change::Defect(Defect::SnapshotIncomplete, Place::whole(None)));
        }
        let kind = self.mapping.kind;
        match &self.mailbox {
            Mailbox::Fixed(mailbox) => sink(Change::SnapshotOf { mailbox: mailbox.clone(), kind }),
            Mailbox::Column { .. } => {
                self.seen.iter().try_for_each(|seen| sink(Change::SnapshotOf { mailbox: Some(seen.clone()), kind }))
            }
        }
    }

    fn change(&mut self, fields: &impl Fields, place: Place) -> Result<Change, (RejectCode, Option<usize>)> {
        self.glued.check(&self.header, None, fields).map_err(|code| (code, None))?;
        let external_id = self.external_id(fields)?;
        let mailbox = self.mailbox(fields)?;
        let kind = self.mapping.kind;
        if let (Some(number), Some(rule)) = (self.deleted, &self.mapping.deleted)
            && fields.cell(number).is_some_and(|cell| is_one_of(cell, &rule.values))
        {
            let former_id = self.former_id(fields);
            return Ok(Change::Departed(Departure { kind, mailbox, external_id, former_id, place }));
        }
        let mut rewritten = std::mem::take(&mut self.rewritten);
        let dates = self.dates(fields, &mut rewritten);
        let cells = self.cells(fields, &rewritten);
        self.rewritten = rewritten;
        let cells = cells?;
        let is_spoiled = |number: &&usize| {
            let is_no_id = |cell: &str| is_shortened(cell) || fields.is_typed(**number) && is_beyond_digits_kept(cell);
            fields.cell(**number).is_some_and(is_no_id)
        };
        if let Some(&number) = self.links.iter().find(is_spoiled) {
            return Err((RejectCode::SpoiledBySpreadsheet, Some(number)));
        }
        let links = self.links.iter().zip(&self.mapping.links);
        Ok(Change::Row(SourceRow {
            layout: 0,
            mailbox,
            visibility: self.visibility(fields),
            other_ids: self.former_id(fields).into_iter().collect(),
            external_id,
            dates,
            links: links.flat_map(|(number, rule)| links_of(fields.cell(*number), rule)).collect(),
            cells,
            place,
        }))
    }

    /// The id without the blanks around it, which links lose and with which a database pads ids of a fixed width, and without
    /// what nobody sees there or guards it against spreadsheets: with it in one file and without it in the next, one person
    /// would be two.
    fn external_id(&self, fields: &impl Fields) -> Result<String, (RejectCode, Option<usize>)> {
        let filled = |number: usize| {
            let cell = fields.cell(number).map(unguarded).filter(|cell| !cell.is_empty());
            let cell = cell.ok_or((RejectCode::IdMissing, Some(number)))?;
            if is_spoiled_by_spreadsheet(cell) || fields.is_typed(number) && is_beyond_digits_kept(cell) {
                Err((RejectCode::SpoiledBySpreadsheet, Some(number)))
            } else {
                Ok(cell)
            }
        };
        let parts = self.ids.iter().copied().map(filled).collect::<Result<Vec<&str>, _>>()?;
        Ok(id_of(&parts))
    }

    /// Returns the id with what was a part of it before: what nobody sees around it, and what guards it. Whoever was taken in
    /// under that one is known by it, and not recorded as gone and as somebody new whom no hold and no restriction names.
    fn former_id(&self, fields: &impl Fields) -> Option<String> {
        let cell = |number: &usize| fields.cell(*number).unwrap_or_default();
        if self.ids.iter().all(|number| cell(number).trim() == unguarded(cell(number))) {
            return None;
        }
        let parts: Vec<&str> = self.ids.iter().map(|number| cell(number).trim()).collect();
        Some(id_of(&parts))
    }

    fn mailbox(&mut self, fields: &impl Fields) -> Result<Option<Arc<str>>, (RejectCode, Option<usize>)> {
        match &mut self.mailbox {
            Mailbox::Fixed(mailbox) => Ok(mailbox.clone()),
            Mailbox::Column { number, last } => {
                let text = fields.cell(*number).map(unguarded).filter(|text| !text.is_empty());
                let text = text.ok_or((RejectCode::MailboxMissing, Some(*number)))?;
                if is_spoiled_by_spreadsheet(text) {
                    return Err((RejectCode::SpoiledBySpreadsheet, Some(*number)));
                }
                if let Some((_, mailbox)) = last.as_ref().filter(|(known, _)| known == text) {
                    return Ok(Some(mailbox.clone()));
                }
                let address: Arc<str> = Arc::from(text.to_lowercase());
                if self.mapping.content == Content::Snapshot && self.seen.len() <= MAILBOXES_MAX {
                    self.seen.insert(address.clone());
                }
                *last = Some((text.to_owned(), address.clone()));
                Ok(Some(address))
            }
        }
    }

    fn visibility(&self, fields: &impl Fields) -> Visibility {
        match (&self.mapping.visibility, self.visibility) {
            (VisibilityFrom::Constant(visibility), _) => *visibility,
            (VisibilityFrom::Column { shared, private, .. }, number) => {
                let cell = number.and_then(|number| fields.cell(number)).unwrap_or_default();
                match (is_one_of(cell, shared), is_one_of(cell, private)) {
                    (true, false) => Visibility::Shared,
                    (false, true) => Visibility::Private,
                    (true, true) | (false, false) => Visibility::Unknown,
                }
            }
        }
    }

    fn dates(
        &mut self,
        fields: &impl Fields,
        rewritten: &mut Vec<Option<String>>,
    ) -> Vec<(DateRole, retention_core::time::Timestamp)> {
        let rules: &[DateRule] = &self.mapping.dates;
        let mut dates = Vec::with_capacity(rules.len());
        rewritten.clear();
        for (rule, &number) in rules.iter().zip(&self.dates) {
            let Some(text) = fields.cell(number).filter(|text| !text.trim().is_empty()) else {
                rewritten.push(None);
                continue;
            };
            let day = fields.is_typed(number).then(|| day_before_midnight(text)).flatten();
            let is_read_as_iso = fields.is_typed(number) && !is_day_written_as_number(text);
            let format = if is_read_as_iso { &DateFormat::Iso } else { &rule.format };
            let mapped = date::mapped(day.unwrap_or(text), format, rule.zone.as_ref());
            self.notes.extend(mapped.found.defect.map(|defect| (defect, Some(number))));
            dates.extend(mapped.found.at.map(|at| (rule.role, at)));
            rewritten.push(mapped.iso.or_else(|| day.map(str::to_owned)));
        }
        dates
    }

    fn cells(&mut self, fields: &impl Fields, dates: &[Option<String>]) -> Result<Cells, (RejectCode, Option<usize>)> {
        let mut cells = Cells::with_capacity(self.kept.len(), fields.bytes());
        let too_large = |_| (RejectCode::TooManyCells { max: usize::from(u16::MAX) }, None);
        if self.is_verbatim {
            for number in 0..self.width() {
                cells.push(fields.cell(number)).map_err(too_large)?;
            }
            return Ok(cells);
        }
        for kept in &self.kept {
            let cell = fields.cell(kept.number);
            let number;
            let cell = match (kept.rewrite, cell) {
                (Rewrite::Date(rule), Some(text)) => Some(dates.get(rule).and_then(Option::as_deref).unwrap_or(text)),
                (Rewrite::DecimalComma, Some(text)) if !fields.is_typed(kept.number) && !text.trim().is_empty() => {
                    number = parse_decimal_comma(text);
                    if number.is_none() {
                        self.notes.push((Defect::NumberUnreadable, Some(kept.number)));
                    }
                    Some(number.as_deref().unwrap_or(text))
                }
                (Rewrite::Keep | Rewrite::DecimalComma | Rewrite::Date(_), cell) => cell,
            };
            cells.push(cell).map_err(too_large)?;
        }
        Ok(cells)
    }
}

/// Says which columns of the file become columns of the layout.
fn arrange(
    mapping: &Mapping,
    header: &[String],
    rules: &[(usize, &ColumnRule)],
    ids: &[usize],
    dates: &[usize],
    named: &BTreeSet<usize>,
) -> Result<(Vec<Column>, Vec<Kept>), FileError> {
    let has_id_field = field::standard(mapping.kind).iter().any(|standard| standard.name == "id");
    let id_is_free = has_id_field && ids.len() == 1 && !mapping.columns.iter().any(|rule| rule.field == "id");
    let mut columns = Vec::with_capacity(header.len());
    let mut kept = Vec::with_capacity(header.len());
    for (number, name) in header.iter().enumerate() {
        let rule = rules.iter().find(|(at, _)| *at == number).map(|(_, rule)| *rule);
        let date_rule = dates.iter().position(|at| *at == number);
        let (field, field_type, decimal) = match rule {
            Some(rule) => (rule.field.clone(), rule.field_type, rule.decimal),
            None if id_is_free && ids.contains(&number) => ("id".to_owned(), FieldType::Text, Decimal::Point),
            None if named.contains(&number) || mapping.unmapped == Unmapped::Custom => {
                let field_type = if date_rule.is_some() { FieldType::Date } else { FieldType::Text };
                (free_custom(name, number, &columns, rules), field_type, Decimal::Point)
            }
            None if mapping.unmapped == Unmapped::Ignore => continue,
            None => return Err(FileError::ColumnUnmapped { number: number + 1 }),
        };
        let rewrite = match (date_rule, field_type, decimal) {
            (Some(rule), _, _) => Rewrite::Date(rule),
            (None, FieldType::Number | FieldType::Money, Decimal::Comma) => Rewrite::DecimalComma,
            _ => Rewrite::Keep,
        };
        columns.push(Column { name: name.clone(), field, field_type });
        kept.push(Kept { number, rewrite });
    }
    Ok((columns, kept))
}

/// Returns a custom field for a column without a rule that no other column fills.
fn free_custom(name: &str, number: usize, columns: &[Column], rules: &[(usize, &ColumnRule)]) -> String {
    let label = name.trim();
    let is_taken = |field: &String| {
        columns.iter().any(|column| column.field == *field) || rules.iter().any(|(_, rule)| rule.field == *field)
    };
    let mut field = format!("{CUSTOM_PREFIX}{label}");
    // The name of another column may end as what is put behind this one.
    while label.is_empty() && field == CUSTOM_PREFIX || is_taken(&field) {
        field.push_str(&format!("#{}", number + 1));
    }
    field
}

/// Makes one id of its parts. A bar inside one of several is doubled, so that different parts never make the same id.
fn id_of(parts: &[&str]) -> String {
    match parts {
        [only] => (*only).to_owned(),
        several => several.iter().map(|part| part.replace('|', "||")).collect::<Vec<_>>().join("|"),
    }
}

/// Says whether a cell is what a spreadsheet shows for an error, or a long number that it has shortened to `1.23457E+17`: as
/// an id either would make one record of many.
fn is_spoiled_by_spreadsheet(cell: &str) -> bool {
    const ERRORS: [&str; 9] = ["#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"];
    ERRORS.contains(&cell) || is_shortened(cell)
}

fn is_shortened(cell: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((number, exponent)) = bare(cell).split_once("E+") else { return false };
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    whole.len() == 1 && is_number(whole) && is_number(fraction) && is_number(exponent)
}

/// Says whether a number of a workbook has more digits than one keeps there: the last ones are zeros now, or those of the
/// nearest number that can be kept, so several ids became one.
fn is_beyond_digits_kept(cell: &str) -> bool {
    const DIGITS_KEPT: usize = 15;
    cell.len() > DIGITS_KEPT && cell.bytes().all(|byte| byte.is_ascii_digit())
}

/// Says whether a number of a workbook can be a day as its digits write it, such as 20251231: that of a spreadsheet, which
/// counts days, has seven at most. With fewer it may have lost a zero, and would be another day.
fn is_day_written_as_number(cell: &str) -> bool {
    cell.len() == 8 && cell.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the day that a program wrote in ISO form into a workbook with a midnight behind it, as the number of a day has
/// none. In an id it is a part of it.
fn day_before_midnight(cell: &str) -> Option<&str> {
    let (day, rest) = cell.split_once("T00:00:00")?;
    (!day.is_empty() && rest.trim_start_matches('.').bytes().all(|byte| byte == b'0')).then_some(day)
}

fn is_one_of(cell: &str, values: &[String]) -> bool {
    let cell = cell.trim();
    values.iter().any(|value| value.eq_ignore_ascii_case(cell) || value.to_lowercase() == cell.to_lowercase())
}

/// Each id counts also with what was a part of it before, as what guards it: whoever was taken in under that one, and was not
/// delivered since, is who is meant.
fn links_of<'a>(cell: Option<&'a str>, rule: &'a LinkRule) -> impl Iterator<Item = SourceLink> + 'a {
    let parts = parts_of(cell.unwrap_or_default(), rule.separator.as_deref());
    let ids = parts.flat_map(|part| {
        let (id, former) = (unguarded(part), part.trim());
        let is_former = !id.is_empty() && former != id;
        [(!id.is_empty()).then_some(id), is_former.then_some(former)].into_iter().flatten()
    });
    ids.map(|id| SourceLink { relation: rule.relation, kind: rule.kind, external_id: id.to_owned() })
}

/// Splits ids; empty ones are none.
pub(super) fn split_ids<'a>(cell: &'a str, separator: Option<&'a str>) -> impl Iterator<Item = &'a str> + 'a {
    parts_of(cell, separator).map(unguarded).filter(|id| !id.is_empty())
}

fn parts_of<'a>(cell: &'a str, separator: Option<&'a str>) -> impl Iterator<Item = &'a str> + 'a {
    let whole = separator.is_none().then_some(cell);
    let parts = separator.map(|separator| cell.split(separator));
    whole.into_iter().chain(parts.into_iter().flatten())
}

/// Makes the links of a cell of ids joined by a bar.
pub(super) fn joined_links(cell: Option<&str>, relation: Relation, kind: Kind, links: &mut Vec<SourceLink>) {
    // A cell may hold millions of them.
    let is_alike = |link: &&SourceLink| link.relation == relation && link.kind == kind;
    let mut seen: HashSet<String> = links.iter().filter(is_alike).map(|link| link.external_id.clone()).collect();
    for id in split_ids(cell.unwrap_or_default(), Some("|")) {
        if seen.insert(id.to_owned()) {
            links.push(SourceLink { relation, kind, external_id: id.to_owned() });
        }
    }
}

/// Turns `1 234,50 Kč` into `1234.50 Kč`: blanks or points group three digits, a comma begins the fraction.
fn parse_decimal_comma(text: &str) -> Option<String> {
    let text = text.trim();
    let is_sign = |c: char| matches!(c, '-' | '+' | '\u{2212}');
    let from = text.find(|c: char| c.is_ascii_digit() || is_sign(c))?;
    let to = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (before, rest) = text.split_at_checked(from)?;
    let (number, behind) = rest.split_at_checked(to.checked_sub(from)?)?;
    let sign = if number.starts_with(['-', '\u{2212}']) { "-" } else { "" };
    let digits = number.trim_start_matches(is_sign).trim_start();
    let (whole, fraction) = match digits.split_once(',') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut groups = whole.split([' ', '\u{a0}', '\u{202f}', '.']);
    let first = groups.next()?;
    let mut plain = first.to_owned();
    let mut grouped = false;
    for group in groups {
        if group.len() != 3 {
            return None;
        }
        grouped = true;
        plain.push_str(group);
    }
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(&plain) || (grouped && first.len() > 3) || fraction.is_some_and(|fraction| !is_number(fraction)) {
        return None;
    }
    let fraction = fraction.map_or_else(String::new, |fraction| format!(".{fraction}"));
    Some(format!("{before}{sign}{plain}{fraction}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn czech_numbers_become_numbers_with_a_point_or_stay() {
        let read = |text: &str| parse_decimal_comma(text);
        assert_eq!(read("1 234,50").as_deref(), Some("1234.50"));
        assert_eq!(read("-1\u{a0}234\u{a0}567").as_deref(), Some("-1234567"));
        assert_eq!(read("1.234,5 Kč").as_deref(), Some("1234.5 Kč"));
        assert_eq!(read("€ 12,00").as_deref(), Some("€ 12.00"));
        assert_eq!(read("12500").as_deref(), Some("12500"));
        for text in ["1.5", "1,234.50", "12 34", "1234 567", "abc", "1,2,3", "", "-"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// The cells of a row that a workbook gives a type.
    struct Typed([&'static str; 2]);

    impl Fields for Typed {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn cell(&self, number: usize) -> Option<&str> {
            self.0.get(number).copied()
        }

        fn bytes(&self) -> usize {
            self.0.iter().map(|cell| cell.len()).sum()
        }

        fn is_typed(&self, _: usize) -> bool {
            true
        }
    }

    #[test]
    fn a_day_with_a_midnight_behind_it_is_a_day_and_in_an_id_stays_what_it_was() {
        let mapping = "schema = 1\nkind = \"contact\"\nfiles = [\"a.xlsx\"]\ncontent = \"delta\"\nid = [\"Id\"]\n\
            [[date]]\ncolumn = \"End\"\nrole = \"modified\"\n";
        let mapping = Mapping::parse(mapping).unwrap();
        let header = ["Id".to_owned(), "End".to_owned()];
        let (_, mut typist) = Typist::for_header("crm", &mapping, &header).unwrap();
        let last = "2025-12-31T23:59:59.999999Z";
        for (text, cell, at) in [
            ("2025-12-31T00:00:00", "2025-12-31", last),
            ("2025-12-31T00:00:00.000", "2025-12-31", last),
            ("2025-12-31", "2025-12-31", last),
            ("2025-12-31T00:00:00Z", "2025-12-31T00:00:00Z", "2025-12-31T00:00:00Z"),
        ] {
            let Change::Row(row) = typist.change(&Typed([text; 2]), Place::line(None, 2)).unwrap() else {
                panic!("{text}");
            };
            let dates: Vec<String> = row.dates.iter().map(|(_, at)| at.to_string()).collect();
            assert_eq!((row.external_id.as_str(), row.cells.get(1), dates), (text, Some(cell), vec![at.to_owned()]));
        }
        // A midnight of no day is no empty cell: it is told, and keeps its record.
        let Change::Row(row) = typist.change(&Typed(["T00:00:00"; 2]), Place::line(None, 3)).unwrap() else {
            panic!("no row");
        };
        assert_eq!((row.cells.get(1), row.dates.len()), (Some("T00:00:00"), 0));
    }

    #[test]
    fn links_stand_once_in_their_order_however_many_a_cell_holds() {
        let mut links = Vec::new();
        joined_links(Some("b|a| b ||a"), Relation::About, Kind::Deal, &mut links);
        joined_links(Some("a|c"), Relation::About, Kind::Deal, &mut links);
        joined_links(Some("a"), Relation::Associated, Kind::Deal, &mut links);
        let ids: Vec<&str> = links.iter().map(|link| link.external_id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c", "a"]);
        // Compared with each other, half a million would take hours.
        let many: String = (0..500_000).map(|id| format!("{id}|")).collect();
        joined_links(Some(&many), Relation::About, Kind::Company, &mut links);
        assert_eq!(links.len(), 500_004);
    }
}
