//! What sort of activity it was: a call, a meeting, a newsletter that went out by itself.
//!
//! A class is known when an administrator said which values of a source mean it. Everything else has none, and counts
//! under every policy: what nobody can name never lets something become due earlier.

use std::collections::BTreeMap;
use std::fmt;

use bincode::{Decode, Encode};

use super::field;
use super::{Cells, Kind, Layout};
use crate::id::EntityId;
use crate::time::Timestamp;

/// The class of an activity. Names no person: it is a word of [`ActivityClass::KNOWN`], or one of the configuration.
///
/// Part of frozen bodies: see `docs/formats.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ActivityClass(String);

/// The prefix of classes that an administrator names.
const CUSTOM_CLASS_PREFIX: &str = "custom:";

/// The longest name after the prefix, in bytes.
const CUSTOM_CLASS_BYTES_MAX: usize = 64;

impl ActivityClass {
    /// The classes that have a name of their own, and what each means.
    pub const KNOWN: [(&'static str, &'static str); 14] = [
        ("call_logged", "a telephone call took place"),
        ("chat_held", "messages were exchanged in a chat"),
        ("email_replied", "the person wrote or answered"),
        ("email_sent", "somebody wrote to the person"),
        ("event_attended", "the person came to an event"),
        ("form_submitted", "the person filled in a form"),
        ("meeting_held", "a meeting took place"),
        ("newsletter_opened", "the person opened a mailing"),
        ("newsletter_sent", "a mailing went out by itself"),
        ("note_written", "somebody wrote a note"),
        ("order_placed", "the person ordered something"),
        ("post_written", "somebody wrote a post"),
        ("record_changed", "the source noted a change of the record"),
        ("task_changed", "a task was made or changed"),
    ];

    /// Returns the class of a name; `None` for a name that is neither known nor a custom one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is_known = Self::KNOWN.iter().any(|(known, _)| *known == name);
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_custom = name
            .strip_prefix(CUSTOM_CLASS_PREFIX)
            .is_some_and(|own| !own.is_empty() && own.len() <= CUSTOM_CLASS_BYTES_MAX && own.bytes().all(is_allowed));
        (is_known || is_custom).then(|| Self(name.to_owned()))
    }

    /// Returns the names that are known.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::KNOWN.iter().map(|(name, _)| *name)
    }

    /// Returns the name, as policies and the configuration write it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActivityClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The newest activity of one class that a record had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Activity {
    /// Its class; `None` when nobody can tell.
    pub class: Option<ActivityClass>,
    /// When it took place.
    pub at: Timestamp,
    /// Which entity it is; it may be gone. `None` when an earlier version of the program did not record it.
    pub by: Option<EntityId>,
}

/// Which values of which field of a source mean which class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRule {
    /// The source, as layouts name it.
    pub source: String,
    /// The kind: one that counts as activity of what it is about.
    pub kind: Kind,
    /// What tells the class.
    pub told: ToldBy,
}

/// What tells the class of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToldBy {
    /// All of this kind are of one class.
    Kind(ActivityClass),
    /// The value of a field, compared without regard to case and to blanks around it.
    Field {
        /// The field.
        field: String,
        /// The values in lower case.
        classes: BTreeMap<String, ActivityClass>,
    },
}

/// All rules, in the order in which they are asked: the first that knows the class tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityRules(Vec<ActivityRule>);

impl ActivityRules {
    /// The kinds that count as activity of what they are about.
    pub const KINDS: [Kind; 3] = [Kind::Activity, Kind::Post, Kind::Task];

    /// Puts rules together.
    #[must_use]
    pub fn new(rules: Vec<ActivityRule>) -> Self {
        Self(rules)
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = &'a ActivityRule> {
        self.0.iter().filter(|rule| rule.kind == layout.kind && rule.source == layout.source)
    }

    /// Returns the class of an entity by its cells; `None` when no rule knows it.
    #[must_use]
    pub fn class_of(&self, layout: &Layout, cells: &Cells) -> Option<ActivityClass> {
        self.of(layout).find_map(|rule| match &rule.told {
            ToldBy::Kind(class) => Some(class.clone()),
            ToldBy::Field { field, classes } => {
                let cell = cells.get(layout.column_of(field)?)?;
                classes.get(&folded(cell)).cloned()
            }
        })
    }
}

/// Returns a value as rules compare it.
#[must_use]
pub fn folded(value: &str) -> String {
    value.trim().to_lowercase()
}

/// Says whether entities of a kind have a field, or may have: every source can add custom ones.
#[must_use]
pub fn may_have(kind: Kind, name: &str) -> bool {
    field::standard(kind).iter().any(|standard| standard.name == name) || field::is_custom(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, FieldType};

    fn layout(source: &str, kind: Kind) -> Layout {
        let column = |name: &str| Column { name: name.to_owned(), field: name.to_owned(), field_type: FieldType::Text };
        let columns = vec![column("sub_type"), column("action_verb")];
        Layout { source: source.to_owned(), kind, columns, named_dates: Vec::new() }
    }

    fn cells(cells: [Option<&str>; 2]) -> Cells {
        cells.into_iter().collect()
    }

    fn by_field(field: &str, values: &[(&str, &str)]) -> ToldBy {
        let class = |name: &str| ActivityClass::from_name(name).unwrap();
        let classes = values.iter().map(|(value, name)| (folded(value), class(name))).collect();
        ToldBy::Field { field: field.to_owned(), classes }
    }

    #[test]
    fn names_are_known_or_custom_and_nothing_else() {
        for (name, meaning) in ActivityClass::KNOWN {
            assert_eq!(ActivityClass::from_name(name).unwrap().name(), name);
            assert!(!meaning.is_empty());
        }
        assert!(ActivityClass::KNOWN.is_sorted());
        assert!(ActivityClass::from_name("custom:site_visit").is_some());
        let long = format!("custom:{}", "a".repeat(65));
        for wrong in ["", "call", "custom:", "custom:Site", "custom:site visit", "unclassified", &long] {
            assert_eq!(ActivityClass::from_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_first_rule_that_knows_a_value_tells_the_class_and_nobody_guesses() {
        let rule = |told| ActivityRule { source: "crm".to_owned(), kind: Kind::Activity, told };
        let rules = ActivityRules::new(vec![
            rule(by_field("sub_type", &[("Phone call", "call_logged")])),
            rule(by_field("action_verb", &[("Sent", "newsletter_sent"), ("phone call", "email_sent")])),
        ]);
        let told = |source: &str, kind, of| {
            rules.class_of(&layout(source, kind), &cells(of)).map(|class| class.name().to_owned())
        };
        let activity = |of| told("crm", Kind::Activity, of);
        assert_eq!(activity([Some(" PHONE Call "), Some("sent")]).as_deref(), Some("call_logged"));
        assert_eq!(activity([Some("other"), Some("sent")]).as_deref(), Some("newsletter_sent"));
        assert_eq!(activity([None, Some("Phone call")]).as_deref(), Some("email_sent"));
        assert_eq!(activity([Some("other"), None]), None);
        assert_eq!(told("crm", Kind::Post, [Some("phone call"), None]), None);
        assert_eq!(told("erp", Kind::Activity, [Some("phone call"), None]), None);
        let all = ActivityRules::new(vec![rule(ToldBy::Kind(ActivityClass::from_name("task_changed").unwrap()))]);
        assert!(all.class_of(&layout("crm", Kind::Activity), &cells([None, None])).is_some());
        assert!(all.class_of(&layout("crm", Kind::Task), &cells([None, None])).is_none());
        assert!(!all.is_empty() && ActivityRules::default().is_empty());
    }
}
