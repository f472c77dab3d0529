//! `[action] kind = "redact"`: which fields are taken out, and why some cannot be.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::super::error::{PolicyProblem, suggestion};
use super::super::syntax::{Reader, Span, Value};
use crate::record::field::{CUSTOM_PREFIX, standard};
use crate::record::redact::{ALL_CUSTOM, FieldMap, Treatment};
use crate::record::{FieldType, Kind};

/// The longest text that stands in the place of a field, in bytes.
const TEXT_MAX: usize = 200;

/// Where the parts of the table stand in the file.
pub(super) struct Place {
    /// The value of `kind`.
    pub(super) kind: Span,
    /// `[action]`.
    pub(super) action: Span,
}

/// Reads the map of a redaction; `None` after reporting what is wrong.
pub(super) fn fields<'t>(
    r: &mut Reader<'t>,
    place: &Place,
    value: Option<&'t Value<'t>>,
    kinds: &BTreeSet<Kind>,
) -> Option<FieldMap> {
    if kinds.contains(&Kind::Message) {
        let problem = "is redact, which kind = \"message\" has not: messages are purged on their server, whole";
        r.bad_value(&place.kind, "kind", problem);
        return None;
    }
    let Some(value) = value else {
        let why = ": a redaction says what it takes out, such as fields = { notes = \"remove\" }";
        r.error(&place.action, PolicyProblem::Missing { key: "fields", table: "[action]".to_owned(), why });
        return None;
    };
    let table = r.table("[action.fields]", value)?;
    // Each entry is looked at, so that all errors are reported.
    let entries: Vec<Option<(String, Treatment)>> =
        table.entries().map(|(name, at, value)| field(r, name, &at, value, kinds)).collect();
    let map = FieldMap::new(entries.into_iter().collect::<Option<Vec<_>>>()?);
    if map.is_empty() {
        r.bad_value(&value.span(), "fields", "takes nothing out: name a field to \"remove\", or leave the policy out");
        return None;
    }
    Some(map)
}

fn field<'t>(
    r: &mut Reader<'t>,
    name: &'t str,
    at: &Span,
    value: &'t Value<'t>,
    kinds: &BTreeSet<Kind>,
) -> Option<(String, Treatment)> {
    let treatment = treatment(r, name, value)?;
    if name.starts_with(CUSTOM_PREFIX) {
        if name == ALL_CUSTOM && matches!(treatment, Treatment::Replaced(_)) {
            r.bad_value(&value.span(), name, "can only be removed: one text does not fit all of them");
            return None;
        }
        return Some((name.to_owned(), treatment));
    }
    let mut types = Vec::with_capacity(kinds.len());
    for &kind in kinds {
        let Some(known) = standard(kind).iter().find(|field| field.name == name) else {
            let hint = suggestion(name, standard(kind).iter().map(|field| field.name));
            r.bad_value(at, "fields", format!("has {name}, which a {kind} has not{hint}"));
            return None;
        };
        types.push(known.field_type);
    }
    if treatment == Treatment::Kept {
        return Some((name.to_owned(), treatment));
    }
    if let Some(why) = fixed(name, &types) {
        r.bad_value(at, "fields", format!("has {name}, which cannot be taken out: {why}"));
        return None;
    }
    let is_text = types.iter().all(|of| matches!(of, FieldType::Text | FieldType::List));
    if matches!(treatment, Treatment::Replaced(_)) && !is_text {
        r.bad_value(&value.span(), name, "is no text, and policies could not read one in its place: use \"remove\"");
        return None;
    }
    Some((name.to_owned(), treatment))
}

/// Returns why a standard field cannot be taken out.
fn fixed(name: &str, types: &[FieldType]) -> Option<&'static str> {
    if matches!(name, "id" | "persona_id" | "item_id") {
        return Some("by it the source names the record, and would bring it back as a new one");
    }
    if name.ends_with("_links") || matches!(name, "parent_type" | "parent_link") {
        return Some("it ties the record to others, by which activity is counted; purge those instead");
    }
    if name == "shared" {
        return Some("by it policies tell what is private; it says nothing of a person");
    }
    // A birthday is the one date from which nothing is counted.
    if types.contains(&FieldType::Date) && name != "birthday" {
        return Some("periods count from dates, and what is left must not become due earlier or later");
    }
    None
}

fn treatment<'t>(r: &mut Reader<'t>, name: &str, value: &'t Value<'t>) -> Option<Treatment> {
    if let DeValue::Table(_) = value.get_ref() {
        let mut table = r.table(name, value)?;
        let text = table.require(r, "replace", ": the text that stands in its place");
        table.finish(r, &[]);
        let value = text?;
        let text = r.text("replace", value)?;
        if text.trim().is_empty() || text.len() > TEXT_MAX {
            let problem = format!("must have 1 to {TEXT_MAX} bytes that can be seen; \"remove\" leaves nothing");
            r.bad_value(&value.span(), "replace", problem);
            return None;
        }
        return Some(Treatment::Replaced(text.to_owned()));
    }
    let choices = [("keep", false), ("remove", true)];
    let is_removed = r.choice(name, value, &choices)?;
    Some(if is_removed { Treatment::Removed } else { Treatment::Kept })
}
