//! `kind = "redact"`: what it may take out, what is due under it, and how it may be tightened.

use super::*;

const PURGE: &str = "kind = \"purge\"";
const CREATED: &str = "2020-01-01T00:00:00Z";

fn action(fields: &str) -> String {
    format!("kind = \"redact\"\nfields = {fields}")
}

fn refused(fields: &str) -> String {
    errors(&[(PURGE, &action(fields))])
}

#[test]
fn what_cannot_be_redacted_is_refused_with_the_place_and_the_reason() {
    for (fields, said) in [
        ("{ job_titel = \"remove\" }", "job_title"),
        ("{}", "takes nothing out"),
        ("{ notes = \"keep\" }", "takes nothing out"),
        ("{ persona_id = \"remove\" }", "by it the source names the record"),
        ("{ item_id = \"remove\" }", "by it the source names the record"),
        ("{ deal_links = \"remove\" }", "it ties the record to others"),
        ("{ shared = \"remove\" }", "by it policies tell what is private"),
        ("{ notes = \"delete\" }", "must be one of keep, remove"),
        ("{ birthday = { replace = \"x\" } }", "use \"remove\""),
        ("{ notes = { replace = \" \" } }", "that can be seen"),
        ("{ notes = { with = \"x\" } }", "replace"),
        ("{ \"custom.*\" = { replace = \"x\" } }", "can only be removed"),
    ] {
        let found = refused(fields);
        assert!(found.starts_with("p.toml:2") && found.contains(said), "{fields}: {found}");
    }
    let dates = errors(&[
        (PURGE, &action("{ close_date = \"remove\" }")),
        ("kind = \"contact\"", "kind = \"deal\""),
        (WHERE, "match_all = true"),
    ]);
    assert!(dates.contains("periods count from dates"), "{dates}");
    let without = errors(&[(PURGE, "kind = \"redact\"")]);
    assert!(without.contains("fields") && without.contains("a redaction says what it takes out"), "{without}");
    let purge = errors(&[(PURGE, "kind = \"purge\"\nfields = { notes = \"remove\" }")]);
    assert!(purge.contains("beside kind = \"redact\" only"), "{purge}");
    let messages = errors(&[
        (PURGE, &action("{ from = \"remove\" }")),
        ("kind = \"contact\"", "kind = \"message\""),
        (WHERE, "match_all = true"),
        ("start = \"created\"", "start = \"received\""),
    ]);
    assert!(messages.contains("messages are purged on their server"), "{messages}");
}

fn buyer(notes: Option<&str>, id: &str) -> Entity {
    let cells = [
        ("job_title", FieldType::List, Some("Buyer")),
        ("notes", FieldType::Text, notes),
        ("custom.size", FieldType::Number, Some("5")),
    ];
    let mut entity = Entity::of(&cells, &[(DateRole::Created, CREATED)]);
    entity.record.external_id = id.to_owned();
    entity
}

fn judged(policy: &Arc<Policy>, entity: &Entity) -> String {
    match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { .. } => "due".to_owned(),
        Assessment::NotRedacted { field, keep_until } => {
            format!("{} {}", field.unwrap_or("nothing"), keep_until.is_some())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn only_what_holds_something_to_take_out_is_due() {
    let notes = one(&[(PURGE, &action("{ notes = \"remove\" }"))]);
    assert_eq!(judged(&notes, &buyer(Some("about Ann"), "1")), "due");
    assert_eq!(judged(&notes, &buyer(None, "1")), "nothing false");
    assert_eq!(judged(&notes, &buyer(Some(""), "1")), "nothing false");
    assert_eq!(judged(&notes, &buyer(Some("ann@example.org"), "ann@example.org")), "notes false");
    let replaced = one(&[(PURGE, &action("{ notes = { replace = \"taken out\" } }"))]);
    assert_eq!(judged(&replaced, &buyer(Some("about Ann"), "1")), "due");
    assert_eq!(judged(&replaced, &buyer(Some("taken out"), "1")), "nothing false");
    let typed = one(&[(PURGE, &action("{ \"custom.size\" = { replace = \"x\" } }"))]);
    assert_eq!(judged(&typed, &buyer(None, "1")), "custom.size false");
    // What was redacted is protected by the minimum as before.
    let keeping = [
        (PURGE, action("{ notes = \"remove\" }")),
        ("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P1Y\"".into()),
    ];
    let keeping = one(&keeping.each_ref().map(|(old, new)| (*old, new.as_str())));
    assert_eq!(judged(&keeping, &buyer(None, "1")), "nothing true");
}

#[test]
fn a_lock_lets_a_redaction_take_out_less_and_never_more() {
    let locked = ("state = \"enforce\"", "state = \"enforce\"\nlock = \"ratchet\"");
    let of = |action: &str| set(&[("p", text("p", &[(PURGE, action), locked]))]);
    let (purge, both, one) = (
        of(PURGE),
        of(&action("{ notes = \"remove\", birthday = \"remove\" }")),
        of(&action("{ notes = \"remove\" }")),
    );
    let other = of(&action("{ notes = { replace = \"x\" } }"));
    let is_looser = |before: &PolicySet, after: &PolicySet| !after.loosened(before).is_empty();
    assert!(!is_looser(&purge, &both) && is_looser(&both, &purge));
    assert!(!is_looser(&both, &one) && is_looser(&one, &both));
    assert!(is_looser(&one, &other));
    assert_ne!(both.digest(), one.digest());
}
