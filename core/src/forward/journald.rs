//! The native protocol of systemd-journald (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): one entry in each datagram.

use super::{facts, sentence};
use crate::event::Envelope;

/// `info` (journal fields, `PRIORITY`): that something was recorded alarms nobody.
const PRIORITY: &str = "6";

/// `log audit`, as in syslog.
const FACILITY: &str = "13";

/// What finds the events of all logs: `journalctl MESSAGE_ID=…`. Made once, at random, and the same for ever.
const MESSAGE_ID: &str = "9d1f4c0f3f6b4f0c8a5e6c0d2b7a41e3";

/// Returns the entry that tells of an event.
#[must_use]
pub fn entry(origin: &str, envelope: &Envelope) -> Vec<u8> {
    let mut entry = Vec::new();
    add(&mut entry, "MESSAGE", &sentence(envelope));
    add(&mut entry, "MESSAGE_ID", MESSAGE_ID);
    add(&mut entry, "PRIORITY", PRIORITY);
    add(&mut entry, "SYSLOG_FACILITY", FACILITY);
    add(&mut entry, "SYSLOG_IDENTIFIER", "retentiond");
    for (name, value) in facts(origin, envelope) {
        add(&mut entry, &format!("RETENTIOND_{}", name.to_uppercase()), &value);
    }
    entry
}

/// Adds a field: as text, or with its length before it when a line end would look like the end of the field.
fn add(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::tests::envelope;
    use super::*;

    #[test]
    fn an_entry_has_the_fields_of_the_envelope() {
        let text = String::from_utf8(entry("retentiond/ab12", &envelope())).unwrap();
        let expected = format!(
            "MESSAGE=event 4711 was recorded: PlanApproved, caused by uid:1000\nMESSAGE_ID={MESSAGE_ID}\nPRIORITY=6\n\
             SYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER=retentiond\nRETENTIOND_LOG=retentiond/ab12\n\
             RETENTIOND_POSITION=4711\nRETENTIOND_KIND=PlanApproved\nRETENTIOND_RECORDED_AT=2026-03-01T00:00:00.25Z\n\
             RETENTIOND_OCCURRED_AT=2026-02-28T23:59:59Z\nRETENTIOND_ACTOR=uid:1000\nRETENTIOND_CAUSE=4700\n\
             RETENTIOND_ENTITY=E17\nRETENTIOND_BODY_SHA256={}\n",
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_value_with_a_line_end_is_counted() {
        let mut entry = Vec::new();
        add(&mut entry, "A", "x\ny");
        assert_eq!(entry, b"A\n\x03\0\0\0\0\0\0\0x\ny\n");
    }
}
