//! The syslog protocol (RFC 5424), and how its messages are told apart on a stream (RFC 6587, section 3.4.1).

use std::fmt::Write as _;

use super::{facts, sentence};
use crate::event::Envelope;
use crate::event::summary::type_name;

/// `log audit` (RFC 5424, section 6.2.1, table 1).
const FACILITY: u8 = 13;

/// `Informational` (table 2): that something was recorded alarms nobody; what it was, its readers judge.
const SEVERITY: u8 = 6;

const PRIORITY: u8 = FACILITY * 8 + SEVERITY;

/// The number that RFC 5612 keeps for examples: nobody gave this program one of its own.
const STRUCTURE: &str = "retentiond@32473";

/// The lengths of section 6, in bytes.
const HOSTNAME_BYTES_MAX: usize = 255;
const MSGID_BYTES_MAX: usize = 32;

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// What the machine is called; empty when it is not known.
    pub host: String,
    /// The number of the process.
    pub process: u32,
}

/// Returns the message that tells of an event.
#[must_use]
pub fn message(sender: &Sender, origin: &str, envelope: &Envelope) -> String {
    let host = header(&sender.host, HOSTNAME_BYTES_MAX);
    let kind = header(&type_name(envelope.event_type), MSGID_BYTES_MAX);
    let (at, process) = (envelope.recorded_at, sender.process);
    let mut text = format!("<{PRIORITY}>1 {at} {host} retentiond {process} {kind} [{STRUCTURE}");
    for (name, value) in facts(origin, envelope) {
        // Writing to a string cannot fail.
        let _ = write!(text, " {name}=\"{}\"", escaped(&value));
    }
    text.push_str("] ");
    text.push_str(&sentence(envelope));
    text
}

/// Returns a message as it stands on a stream: its length before it, so that no byte of it can look like an end.
#[must_use]
pub fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A field of the header: visible US-ASCII, or `-` when nothing is left (section 6, `NILVALUE`).
fn header(text: &str, bytes_max: usize) -> String {
    let visible: String = text.chars().filter(char::is_ascii_graphic).take(bytes_max).collect();
    if visible.is_empty() { "-".to_owned() } else { visible }
}

/// A parameter value: quotes, backslashes and closing brackets are escaped (section 6.3.3), control characters left
/// out.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::envelope;
    use super::*;

    #[test]
    fn a_message_is_one_line_of_rfc_5424() {
        let sender = Sender { host: "archive.example.org".to_owned(), process: 4_242 };
        let text = message(&sender, "retentiond/ab12", &envelope());
        let expected = format!(
            "<110>1 2026-03-01T00:00:00.25Z archive.example.org retentiond 4242 PlanApproved [retentiond@32473 \
             log=\"retentiond/ab12\" position=\"4711\" kind=\"PlanApproved\" recorded_at=\"2026-03-01T00:00:00.25Z\" \
             occurred_at=\"2026-02-28T23:59:59Z\" actor=\"uid:1000\" cause=\"4700\" entity=\"E17\" body_sha256=\"{}\"] \
             event 4711 was recorded: PlanApproved, caused by uid:1000",
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(counted(&text), format!("{} {text}", text.len()));
        // Section 6.1: every receiver takes messages of 480 bytes, and should take 2,048.
        assert!(text.len() < 2_048);
    }

    #[test]
    fn a_machine_without_a_name_has_none() {
        let text = message(&Sender { host: String::new(), process: 1 }, "log", &envelope());
        assert!(text.starts_with("<110>1 2026-03-01T00:00:00.25Z - retentiond 1 "), "{text}");
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_field(host in any::<String>(), origin in any::<String>()) {
            let text = message(&Sender { host, process: 7 }, &origin, &envelope());
            prop_assert!(text.chars().all(|c| !c.is_control()));
            let fields: Vec<&str> = text.splitn(7, ' ').collect();
            prop_assert_eq!((fields[3], fields[4], fields[5]), ("retentiond", "7", "PlanApproved"));
            // The structured data ends at the first closing bracket that is not escaped.
            let mut before = ' ';
            let end = fields[6].char_indices().find(|(_, c)| {
                let ends = *c == ']' && before != '\\';
                before = if before == '\\' { ' ' } else { *c };
                ends
            });
            let rest = fields[6].get(end.expect("an end").0..);
            prop_assert_eq!(rest, Some("] event 4711 was recorded: PlanApproved, caused by uid:1000"));
        }
    }
}
