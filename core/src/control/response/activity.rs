//! From which activity a policy counts or judges, and which newer ones it passes over.

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

/// From which activity a policy counts, or by which it judges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedActivity {
    /// The classes that count beside what has none: the policy's `activity_events`; `None`: every activity counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Which filters of the policy ask for it: `where`, `suspend_while`, `override`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Whether its period counts from it.
    #[serde(default)]
    pub is_start: bool,
    /// The newest that counts.
    pub counted: Option<ActivityRow>,
    /// Newer ones that do not, because `activity_events` does not name their class; the newest first.
    pub passed_over: Vec<ActivityRow>,
}

impl CountedActivity {
    pub(super) fn sentence(&self, policy: &str) -> String {
        let asked = match self.filters.join(" and ") {
            filters if filters.is_empty() => String::new(),
            filters if self.is_start => format!("also asks for last_activity in {filters} and "),
            filters => format!("asks for last_activity in {filters} and "),
        };
        let counted = match &self.counted {
            Some(row) if row.class.is_none() && self.classes.is_some() => {
                format!("counts {}, because what has no class counts under every policy", row.said())
            }
            Some(row) => format!("counts {}", row.said()),
            None => "counts none of the activities of the entity".to_owned(),
        };
        if self.passed_over.is_empty() {
            return format!("Policy {policy} {asked}{counted}.");
        }
        let passed: Vec<String> = self.passed_over.iter().map(ActivityRow::said).collect();
        format!(
            "Policy {policy} {asked}{counted}. Not counted, because its activity_events does not name the class: {}.",
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
        let start = CountedActivity {
            classes: classes.clone(),
            filters: Vec::new(),
            is_start: true,
            counted,
            passed_over: passed_over.clone(),
        };
        let said = start.sentence("p");
        assert_eq!(
            said,
            "Policy p counts call_logged at 1970-01-01T00:00:00Z (E7, post of crm). Not counted, because its \
             activity_events does not name the class: newsletter_sent at 1970-01-02T00:00:00Z (only its date is known)."
        );
        let counted = Some(row(None, 0, Some("crm")));
        let unclassified = CountedActivity { counted, passed_over: Vec::new(), ..start.clone() };
        let every = CountedActivity { classes: None, ..unclassified.clone() };
        assert_eq!(every.sentence("p"), "Policy p counts unclassified at 1970-01-01T00:00:00Z (E7, post of crm).");
        assert!(unclassified.sentence("p").ends_with("because what has no class counts under every policy."));
        let filters = vec!["where".to_owned(), "suspend_while".to_owned()];
        let filtered = CountedActivity { filters, is_start: false, ..start };
        let said = filtered.sentence("p");
        assert!(
            said.starts_with("Policy p asks for last_activity in where and suspend_while and counts call_logged at")
        );
        let both = CountedActivity { is_start: true, ..filtered };
        assert!(both.sentence("p").starts_with("Policy p also asks for last_activity in where and"));
    }
}
