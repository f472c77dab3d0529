//! One row of each kind: id, dates, links, visibility.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use retention_core::record::field::CUSTOM_PREFIX;
use retention_core::record::{DateRole, FieldType, Kind, Relation, SourceLink, Visibility};
use retention_core::table::{Fields as _, TextRow};
use retention_core::text::bare;
use retention_core::time::Timestamp;
use sha2::Digest as _;

use super::super::date::{self, Found};
use super::super::typed::{joined_links, split_ids};
use super::{ACTIVITIES_MAX, Custom, FileState, IDS_REMEMBERED_MAX, Reading, Stop};
use crate::connector::change::{Change, Place, SourceRow};
use crate::connector::defect::Defect;
use crate::connector::rejection::RejectCode;

/// Lengths of notes, in characters, at which the export keeps what it has when the full text cannot be fetched.
const NOTES_CUT_CHARS: [usize; 2] = [254, 255];

/// Statuses of deals known to be open or closed; the service's own list is not public.
const DEAL_OPEN: [&str; 5] = ["", "open", "inprogress", "in progress", "active"];
const DEAL_CLOSED: [&str; 7] = ["won", "lost", "closed", "cancelled", "canceled", "completed", "abandoned"];

/// The parts of a row that its kind decides.
#[derive(Default)]
struct Parts {
    external_id: String,
    other_ids: Vec<String>,
    visibility: Visibility,
    dates: Vec<(DateRole, Timestamp)>,
    links: Vec<SourceLink>,
    defects: Vec<Defect>,
}

impl Parts {
    fn date(&mut self, role: DateRole, found: Option<Found>) {
        if let Some(found) = found {
            self.dates.extend(found.at.map(|at| (role, at)));
            self.defects.extend(found.defect);
        }
    }
}

fn filled(cell: Option<&str>) -> Option<&str> {
    cell.map(bare).filter(|text| !text.is_empty())
}

impl Reading<'_, '_, '_> {
    pub(super) fn row(&mut self, state: &mut FileState, row: &TextRow<'_>, place: Place) -> Result<(), Stop> {
        let parts = match self.parts(state, row) {
            Ok(parts) => parts,
            Err(code) => return self.reject(place, code),
        };
        // A bundle makes the schema of its own columns, for those who read it: nobody recorded these fields.
        let is_made = |id: &str| id.split_once(':').is_some_and(|(_, field)| field.starts_with(CUSTOM_PREFIX));
        if self.is_bundle && state.kind == Kind::Template && is_made(&parts.external_id) {
            return Ok(());
        }
        let Ok(cells) = row.to_cells() else {
            return self.reject(place, RejectCode::TooManyCells { max: usize::from(u16::MAX) });
        };
        for defect in parts.defects {
            self.defect(defect, place)?;
        }
        self.cell_defects(state, row, place)?;
        self.summary.rows += 1;
        let mut dates = parts.dates;
        dates.sort_by_key(|(role, _)| *role);
        self.emit(Change::Row(SourceRow {
            layout: state.layout,
            mailbox: Some(self.feed.mailbox.clone()),
            visibility: parts.visibility,
            external_id: parts.external_id,
            other_ids: parts.other_ids,
            dates,
            links: parts.links,
            cells,
            place,
        }))
    }

    fn parts(&self, state: &mut FileState, row: &TextRow<'_>) -> Result<Parts, RejectCode> {
        let mut parts = match state.kind {
            Kind::Contact => contact(state, row),
            Kind::Company => company(state, row),
            Kind::Deal => self.deal(state, row),
            Kind::Task => self.task(state, row),
            Kind::Post => self.post(state, row),
            Kind::Activity => self.activity(state, row)?,
            Kind::Template => template(state, row),
            Kind::Insight | Kind::File | Kind::Mailbox | Kind::Intake | Kind::Message | Kind::AuditMonth => {
                Parts::default()
            }
        };
        if parts.external_id.is_empty() {
            return Err(RejectCode::IdMissing);
        }
        if !matches!(state.kind, Kind::Activity) && remember(state, &parts.external_id) {
            parts.defects.push(Defect::IdRepeated);
        }
        for (name, &column) in (0..).zip(&state.custom_dates) {
            let found = filled(row.cell(column)).map(|text| date::ocm_utc(text, self.feed.zone));
            parts.date(DateRole::Named(name), found);
        }
        Ok(parts)
    }

    /// A close date counts as closed only when the status says closed; else it is the forecast of an open deal.
    fn deal(&self, state: &FileState, row: &TextRow<'_>) -> Parts {
        let mut parts = with_fallback(state, row);
        parts.visibility = match shared(state, row, &mut parts.defects) {
            Visibility::Shared => Visibility::Private,
            Visibility::Private => Visibility::Shared,
            Visibility::Unknown => Visibility::Unknown,
        };
        if parts.visibility != Visibility::Unknown {
            parts.defects.push(Defect::DealSharedInverted);
        }
        joined_links(state.cell(row, "company_links"), Relation::Associated, Kind::Company, &mut parts.links);
        joined_links(state.cell(row, "contact_links"), Relation::Associated, Kind::Contact, &mut parts.links);
        let status = state.cell(row, "status").unwrap_or_default().trim().to_lowercase();
        let is_closed = DEAL_CLOSED.contains(&status.as_str());
        if !is_closed && !DEAL_OPEN.contains(&status.as_str()) {
            parts.defects.push(Defect::DealStatusUnknown);
        }
        let role = if is_closed { DateRole::Closed } else { DateRole::Deadline };
        let found = filled(state.cell(row, "close_date")).map(|text| date::ocm_day(text, self.feed.zone));
        parts.date(role, found);
        parts.defects.extend(amount_defect(state.cell(row, "amount")));
        parts
    }

    /// The export has no completion date: the last change of a completed task is the latest that it can be.
    fn task(&self, state: &mut FileState, row: &TextRow<'_>) -> Parts {
        let mut parts = Parts::default();
        filled(state.cell(row, "item_id")).unwrap_or_default().clone_into(&mut parts.external_id);
        let xrm_id = filled(state.cell(row, "id")).map(str::to_owned);
        let is_stale = xrm_id.as_ref().is_some_and(|id| remember(state, &format!("xrm {id}")));
        let utc = |field: &str| filled(state.cell(row, field)).map(|text| date::ocm_utc(text, self.feed.zone));
        parts.date(DateRole::Created, utc("created"));
        let modified = utc("modified");
        parts.date(DateRole::Modified, modified);
        if filled(state.cell(row, "status")).is_some_and(|status| status.eq_ignore_ascii_case("completed")) {
            parts.dates.extend(modified.and_then(|found| found.at).map(|at| (DateRole::Closed, at)));
        }
        if is_stale {
            parts.defects.push(Defect::TaskStale);
            return parts;
        }
        parts.other_ids.extend(xrm_id);
        let due = filled(state.cell(row, "due_date")).map(|text| date::ocm_day(text, self.feed.zone));
        parts.date(DateRole::Deadline, due);
        parent(state, row, &mut parts);
        parts
    }

    fn post(&self, state: &FileState, row: &TextRow<'_>) -> Parts {
        let mut parts = with_fallback(state, row);
        let found = filled(state.cell(row, "event_time")).map(|text| date::ocm_stream(text, self.feed.zone));
        parts.date(DateRole::Occurred, found);
        parent(state, row, &mut parts);
        parts
    }

    /// The id is a digest of the cells in the order of the fields, and the number among equal rows of the file.
    fn activity(&self, state: &mut FileState, row: &TextRow<'_>) -> Result<Parts, RejectCode> {
        let mut parts = Parts { defects: vec![Defect::ActivityWithoutId], ..Parts::default() };
        let mut sha = sha2::Sha256::new();
        for (field, &column) in &state.fields {
            let cell = row.cell(column);
            sha.update((field.len() as u64).to_le_bytes());
            sha.update(field);
            sha.update([u8::from(cell.is_some())]);
            sha.update((cell.unwrap_or_default().len() as u64).to_le_bytes());
            sha.update(cell.unwrap_or_default());
        }
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(sha.finalize()) {
            *to = from;
        }
        if state.occurrences.len() >= ACTIVITIES_MAX && !state.occurrences.contains_key(&key) {
            return Err(RejectCode::TooManyRows { max: ACTIVITIES_MAX });
        }
        let nth = state.occurrences.entry(key).and_modify(|count| *count += 1).or_insert(1);
        parts.external_id = format!("{}-{nth}", hex::encode(key));
        if state.cell(row, "action_verb").is_some_and(|verb| verb.eq_ignore_ascii_case("post")) {
            parts.defects.push(Defect::ForeignRow);
        }
        let found = filled(state.cell(row, "event_time")).map(|text| date::ocm_stream(text, self.feed.zone));
        parts.date(DateRole::Occurred, found);
        for (field, kind) in
            [("contact_links", Kind::Contact), ("deal_links", Kind::Deal), ("company_links", Kind::Company)]
        {
            joined_links(state.cell(row, field), Relation::About, kind, &mut parts.links);
        }
        Ok(parts)
    }

    fn cell_defects(&mut self, state: &FileState, row: &TextRow<'_>, place: Place) -> Result<(), Stop> {
        for column in 0..row.count() {
            let Some(text) = row.cell(column) else { continue };
            let place = place.at_column(column);
            let field_type = state.types.get(column).copied().unwrap_or(FieldType::Text);
            if self.is_ascii && text.contains('?') && !text.contains("://") {
                self.defect(Defect::CharactersLost, place)?;
            }
            if text.starts_with(['=', '@']) {
                self.defect(Defect::FormulaText, place)?;
            }
            let is_ids = ["id", "contact_links", "company_links", "deal_links", "item_id", "options"];
            let is_multiple = field_type == FieldType::List && text.contains('|');
            if is_multiple && !is_ids.iter().any(|field| state.fields.get(*field) == Some(&column)) {
                self.defect(Defect::ValuesJoined, place)?;
            }
            if state.fields.get("notes") == Some(&column) {
                let lower = text.to_ascii_lowercase();
                if lower.contains("<html") || lower.contains("<body") {
                    self.defect(Defect::NotesMarkup, place)?;
                }
                if NOTES_CUT_CHARS.contains(&text.chars().count()) {
                    self.defect(Defect::NotesPerhapsCut, place)?;
                }
            }
        }
        Ok(())
    }
}

/// Notes an id and says whether it was there before.
fn remember(state: &mut FileState, id: &str) -> bool {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    if state.ids.len() >= IDS_REMEMBERED_MAX { state.ids.contains(&hash) } else { !state.ids.insert(hash) }
}

fn shared(state: &FileState, row: &TextRow<'_>, defects: &mut Vec<Defect>) -> Visibility {
    match state.cell(row, "shared").map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("true") => Visibility::Shared,
        Some("false") => Visibility::Private,
        _ => {
            defects.push(Defect::SharedUnreadable);
            Visibility::Unknown
        }
    }
}

/// The id is the link ids in order, because the export writes them in none; links find a contact by each.
fn contact(state: &FileState, row: &TextRow<'_>) -> Parts {
    let mut parts = Parts::default();
    parts.visibility = shared(state, row, &mut parts.defects);
    let mut ids: Vec<&str> = split_ids(state.cell(row, "id").unwrap_or_default(), Some("|")).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        filled(state.cell(row, "persona_id")).unwrap_or_default().clone_into(&mut parts.external_id);
        parts.defects.push(Defect::IdFallback);
    } else {
        parts.external_id = ids.join("|");
        if ids.len() > 1 {
            parts.other_ids = ids.into_iter().map(str::to_owned).collect();
        }
    }
    if filled(state.cell(row, "item_id")).is_some() {
        parts.defects.push(Defect::ContactItemIdUntrusted);
    }
    joined_links(state.cell(row, "company_links"), Relation::Associated, Kind::Company, &mut parts.links);
    joined_links(state.cell(row, "deal_links"), Relation::Associated, Kind::Deal, &mut parts.links);
    parts
}

fn with_fallback(state: &FileState, row: &TextRow<'_>) -> Parts {
    let mut parts = Parts::default();
    match filled(state.cell(row, "id")) {
        Some(id) => id.clone_into(&mut parts.external_id),
        None => {
            filled(state.cell(row, "item_id")).unwrap_or_default().clone_into(&mut parts.external_id);
            parts.defects.push(Defect::IdFallback);
        }
    }
    parts
}

fn company(state: &FileState, row: &TextRow<'_>) -> Parts {
    let mut parts = with_fallback(state, row);
    parts.visibility = shared(state, row, &mut parts.defects);
    joined_links(state.cell(row, "contact_links"), Relation::Associated, Kind::Contact, &mut parts.links);
    joined_links(state.cell(row, "deal_links"), Relation::Associated, Kind::Deal, &mut parts.links);
    parts
}

/// The id says whose field it is, `contact:<FieldId>`, because three files share one kind.
fn template(state: &mut FileState, row: &TextRow<'_>) -> Parts {
    let mut parts = Parts::default();
    if let (Some(of), Some(id)) = (state.template_of, filled(state.cell(row, "id"))) {
        parts.external_id = format!("{of}:{id}");
        parts.other_ids.push(id.to_owned());
    }
    let field_type = match state.cell(row, "type").unwrap_or_default().trim() {
        "Boolean" => Some(FieldType::Boolean),
        "Currency" => Some(FieldType::Money),
        "Numeric" => Some(FieldType::Number),
        "Date" => Some(FieldType::Date),
        "Choice" | "Link" | "Text" => Some(FieldType::Text),
        _ => None,
    };
    let label = state.cell(row, "label").unwrap_or_default().to_owned();
    if state.customs.iter().any(|custom| custom.label.eq_ignore_ascii_case(&label)) {
        parts.defects.push(Defect::CustomRepeated);
    }
    if field_type.is_none() {
        parts.defects.push(Defect::CustomTypeUnknown);
    }
    state.customs.push(Custom { label, field_type });
    parts
}

fn parent(state: &FileState, row: &TextRow<'_>, parts: &mut Parts) {
    let Some(link) = filled(state.cell(row, "parent_link")) else { return };
    let kinds: &[Kind] = match state.cell(row, "parent_type").unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "contact" | "ipm.contact" | "ipm.abchperson" => &[Kind::Contact],
        "company" | "ipm.contact.company" => &[Kind::Company],
        "deal" | "ipm.xrmproject.deal" => &[Kind::Deal],
        // Not to look would let become due what somebody has just dealt with.
        _ => {
            parts.defects.push(Defect::ParentUnknown);
            &[Kind::Contact, Kind::Company, Kind::Deal]
        }
    };
    let link = |kind: &Kind| SourceLink { relation: Relation::About, kind: *kind, external_id: link.to_owned() };
    parts.links.extend(kinds.iter().map(link));
}

/// The export writes two decimals, so an amount is clear when a separator stands before the last two digits.
fn amount_defect(cell: Option<&str>) -> Option<Defect> {
    let amount = cell?.trim().strip_prefix("USD").map(str::trim).unwrap_or(cell?.trim());
    let digits_behind = amount.bytes().rev().take_while(u8::is_ascii_digit).count();
    let separator = amount.bytes().rev().nth(digits_behind);
    match (amount, digits_behind, separator) {
        ("", _, _) => None,
        (_, 2, Some(b'.' | b',')) => Some(Defect::CurrencyHardCoded),
        _ => Some(Defect::AmountAmbiguous),
    }
}
