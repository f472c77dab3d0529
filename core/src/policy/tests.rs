use std::sync::Arc;

use super::*;
use crate::id::LayoutId;
use crate::record::activity::Activity;
use crate::record::{Cells, Column, DateRole, EntityRecord, FieldType, Layout, Visibility};
use crate::time::Timestamp;

mod activity;
mod decide;
mod encrypted;
mod file;
mod judge;
mod language;
mod precedence;
mod redact;
mod restrict;
mod review;

/// A whole policy, in which tests replace parts.
const WHOLE: &str = r#"schema = 1

[policy]
id = "p"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
state = "enforce"

[scope]
kind = "contact"
where = { field = "job_title", op = "eq", value = "Buyer" }

[retention]
period = "P1Y"
start = "created"
timezone = "Europe/Paris"

[schedule]
cron = "on_demand"

[action]
kind = "purge"
"#;

const WHERE: &str = r#"where = { field = "job_title", op = "eq", value = "Buyer" }"#;

/// Returns the whole policy under another id and with parts replaced; each part must be there.
fn text(id: &str, replace: &[(&str, &str)]) -> String {
    let mut text = WHOLE.replace("id = \"p\"", &format!("id = \"{id}\""));
    for (old, new) in replace {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

fn set(texts: &[(&str, String)]) -> PolicySet {
    let files: Vec<_> = texts.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
    PolicySet::check(&files).unwrap_or_else(|errors| panic!("{}", show(&errors)))
}

fn show(errors: &[PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn one(replace: &[(&str, &str)]) -> Arc<Policy> {
    Arc::clone(set(&[("p", text("p", replace))]).get("p").unwrap())
}

fn errors(replace: &[(&str, &str)]) -> String {
    let text = text("p", replace);
    show(&PolicySet::check(&[PolicyFile { stem: "p", text: &text }]).unwrap_err())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An entity with the fields and dates that a test needs.
struct Entity {
    layout: Layout,
    record: EntityRecord,
    first_seen: Timestamp,
    last_activity: Option<Timestamp>,
    activities: Vec<Activity>,
    open_deals: u32,
}

impl Entity {
    fn of(cells: &[(&str, FieldType, Option<&str>)], dates: &[(DateRole, &str)]) -> Self {
        let columns = cells.iter().map(|(field, field_type, _)| Column {
            name: (*field).to_owned(),
            field: (*field).to_owned(),
            field_type: *field_type,
        });
        Self {
            layout: Layout {
                source: "ocm".to_owned(),
                kind: Kind::Contact,
                columns: columns.collect(),
                named_dates: vec!["left".to_owned()],
            },
            record: EntityRecord {
                layout: LayoutId(1),
                mailbox: None,
                visibility: Visibility::Private,
                external_id: String::new(),
                other_ids: Vec::new(),
                dates: dates.iter().map(|(role, text)| (*role, at(text))).collect(),
                links: Vec::new(),
                cells: cells.iter().map(|(_, _, cell)| *cell).collect::<Cells>(),
            },
            first_seen: at("2024-06-01"),
            last_activity: None,
            activities: Vec::new(),
            open_deals: 0,
        }
    }

    /// A buyer who was created at a date.
    fn buyer(created: &str) -> Self {
        Self::of(&[("job_title", FieldType::List, Some("Buyer"))], &[(DateRole::Created, created)])
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            layout: &self.layout,
            record: &self.record,
            first_seen: self.first_seen,
            last_activity: self.last_activity,
            activities: &self.activities,
            open_deals: self.open_deals,
        }
    }
}
