//! How people are told: by a program, a webhook, or mail. Each takes a letter and says whether it has it.

use retention_core::notice::Text;
use retention_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::bounded::{self, Unfinished};
use crate::halt::Halt;

mod mail;
mod program;
mod webhook;

pub use mail::Mail;
pub use program::ProgramCarrier;
pub use webhook::Webhook;

/// The code when the daemon ends before the far side answers: nobody knows, and the next start asks again.
pub const STOPPING: &str = "stopping";

/// The code when a password or key cannot be read; the diagnostics say why.
const SECRET_UNREADABLE: &str = "secret-unreadable";

/// What people are told. Nothing in it names anybody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The name of the notice for the far side: the same for each attempt.
    pub id: String,
    /// The channel.
    pub channel: String,
    /// What it is about: a word that programs look at.
    pub thing: &'static str,
    /// The name of the notice.
    pub name: String,
    /// When it is told.
    pub at: Timestamp,
    /// What it says.
    pub text: Text,
}

/// A letter was not taken, or nobody knows. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Undelivered {
    /// A stable code: what happened, never what the far side said.
    pub code: String,
}

impl Undelivered {
    /// Names what happened.
    #[must_use]
    pub fn because(code: impl Into<String>) -> Self {
        Self { code: code.into() }
    }
}

/// What brings letters to people.
pub trait Carrier: Send {
    /// Delivers a letter. Within a bounded time it says how that ended.
    ///
    /// # Errors
    /// Says that the far side does not have it, or that nobody knows.
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered>;
}

/// Delivers within half a minute, and no longer than the daemon goes on.
fn within(halt: &Halt, deliver: impl FnOnce() -> Result<(), Undelivered> + Send + 'static) -> Result<(), Undelivered> {
    bounded::within(halt, deliver).unwrap_or_else(|unfinished| {
        Err(Undelivered::because(match unfinished {
            Unfinished::NotBegun => "no-thread",
            Unfinished::Panicked => "delivery-panicked",
            Unfinished::Stopping => STOPPING,
            Unfinished::TimedOut => "timeout",
        }))
    })
}

impl Letter {
    /// Returns it for programs: the form of Standard Webhooks.
    #[must_use]
    pub fn json(&self) -> String {
        let facts: Map<String, Value> =
            self.text.facts.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))).collect();
        json!({
            "type": self.thing,
            "timestamp": self.at.to_string(),
            "data": {
                "id": self.id,
                "name": self.name,
                "channel": self.channel,
                "subject": self.text.subject,
                "hint": self.text.hint,
                "facts": facts,
            },
        })
        .to_string()
    }

    /// Returns it for people.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = format!("{}.\n\n", self.text.subject);
        for (key, value) in &self.text.facts {
            text.push_str(&format!("  {}: {value}\n", key.replace('_', " ")));
        }
        if !self.text.hint.is_empty() {
            text.push_str(&format!("\nLook at it, or decide:\n\n  {}\n", self.text.hint));
        }
        text.push_str(&format!("\nThis is told once. Its name is {}\n", self.name));
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn letter() -> Letter {
        Letter {
            id: "notice_49c106f2528d1c0ed7fd79676d2cecd3".to_owned(),
            channel: "dpo".to_owned(),
            thing: "plan_needs_approval",
            name: "plan_needs_approval/P121".to_owned(),
            at: Timestamp::from_unix_seconds(1_796_000_000),
            text: Text {
                subject: "Plan P121 of policy contacts waits for approval".to_owned(),
                hint: "retentionctl plan show P121".to_owned(),
                facts: vec![("plan", "P121".to_owned()), ("approvals_needed", "1".to_owned())],
            },
        }
    }

    #[test]
    fn a_letter_says_the_same_to_programs_and_to_people() {
        let read: Value = serde_json::from_str(&letter().json()).unwrap();
        assert_eq!(read["type"], "plan_needs_approval");
        assert_eq!(read["timestamp"], "2026-11-30T00:53:20Z");
        assert_eq!(read["data"]["id"], letter().id);
        assert_eq!(read["data"]["name"], "plan_needs_approval/P121");
        assert_eq!(read["data"]["facts"], json!({ "plan": "P121", "approvals_needed": "1" }));
        let plain = letter().plain();
        for said in ["waits for approval.\n", "  approvals needed: 1\n", "retentionctl plan show P121"] {
            assert!(plain.contains(said), "{said:?} in {plain}");
        }
    }
}
