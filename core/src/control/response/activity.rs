//! From which activity a policy counts, and which newer ones it passes over.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::EntityId;
use crate::record::Kind;
use crate::time::Timestamp;

/// The newest activity of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityRow {
    /// Its class; `None` when nobody can tell.
    pub class: Option<String>,
    /// When it took place.
    pub at: Timestamp,
    /// Which entity it is; `None` when only its date was recorded, or the source of the record itself tells the date.
    pub by: Option<EntityId>,
    /// What that is; not known once it is purged.
    pub kind: Option<Kind>,
    /// The source in the configuration; not known once it is purged.
    pub source: Option<String>,
}

impl ActivityRow {
    fn said(&self) -> String {
        let class = self.class.as_deref().unwrap_or("unclassified");
        let by = match (self.by, self.kind, &self.source) {
            (Some(by), Some(kind), Some(source)) => format!(" ({by}, {kind} of {source})"),
            (Some(by), _, _) => format!(" ({by}, gone)"),
            (None, _, _) => " (only its date is known)".to_owned(),
        };
        format!("{class} at {}{by}", self.at)
    }
}

/// From which activity a policy counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedActivity {
    /// The classes that count beside what has none: the policy's `activity_events`; `None`: every activity counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// The newest that counts.
    pub counted: Option<ActivityRow>,
    /// Newer ones that do not, because `activity_events` does not name their class; the newest first.
    pub passed_over: Vec<ActivityRow>,
}

impl CountedActivity {
    pub(super) fn sentence(&self, policy: &str) -> String {
        let counted = match &self.counted {
            Some(row) if row.class.is_none() && self.classes.is_some() => {
                format!("counts {}, because what has no class counts under every policy", row.said())
            }
            Some(row) => format!("counts {}", row.said()),
            None => "counts none of the activities of the entity".to_owned(),
        };
        if self.passed_over.is_empty() {
            return format!("Policy {policy} {counted}.");
        }
        let passed: Vec<String> = self.passed_over.iter().map(ActivityRow::said).collect();
        format!(
            "Policy {policy} {counted}. Not counted, because its activity_events does not name the class: {}.",
            passed.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: Option<&str>, at: i64, source: Option<&str>) -> ActivityRow {
        ActivityRow {
            class: class.map(str::to_owned),
            at: Timestamp::from_unix_seconds(at),
            by: source.map(|_| EntityId(7)),
            kind: source.map(|_| Kind::Post),
            source: source.map(str::to_owned),
        }
    }

    #[test]
    fn the_sentence_names_date_class_and_source_and_why_newer_ones_do_not_count() {
        let classes = Some(vec!["call_logged".to_owned()]);
        let counted = Some(row(Some("call_logged"), 0, Some("crm")));
        let passed_over = vec![row(Some("newsletter_sent"), 86_400, None)];
        let said = CountedActivity { classes: classes.clone(), counted, passed_over }.sentence("p");
        assert_eq!(
            said,
            "Policy p counts call_logged at 1970-01-01T00:00:00Z (E7, post of crm). Not counted, because its \
             activity_events does not name the class: newsletter_sent at 1970-01-02T00:00:00Z (only its date is known)."
        );
        let counted = Some(row(None, 0, Some("crm")));
        let unclassified = CountedActivity { classes, counted, passed_over: Vec::new() };
        let every = CountedActivity { classes: None, ..unclassified.clone() };
        assert_eq!(every.sentence("p"), "Policy p counts unclassified at 1970-01-01T00:00:00Z (E7, post of crm).");
        assert!(unclassified.sentence("p").ends_with("because what has no class counts under every policy."));
    }
}
