use proptest::prelude::*;

use super::*;
use crate::policy::PolicyFile;
use crate::reason::StartKind;
use crate::time::{Align, Period};

macro_rules! golden {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("golden/", $name, ".toml")))),*]
    };
}

const FILES: [(&str, &str); 5] =
    golden!("deals-moving", "deals-whole", "mail-simulated", "mailbox-access", "notes-draft");

const ALL: [Document; 3] = [Document::Ropa, Document::DeletionConcept, Document::PrivacyNotice];

fn set(files: &[(&str, &str)]) -> PolicySet {
    let files: Vec<_> = files.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
    PolicySet::check(&files).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn both(document: Document, set: &PolicySet) -> [String; 2] {
    [DocumentForm::Markdown, DocumentForm::Csv].map(|form| document.of(set, form))
}

fn period(text: &str) -> Period {
    text.parse().unwrap()
}

/// Each file was read by a person before it was kept: `retentionctl document` on the directory writes them.
#[test]
fn the_documents_are_kept_as_they_are_made() {
    let set = set(&FILES);
    for (document, kept) in [
        (Document::Ropa, [include_str!("golden/ropa.md"), include_str!("golden/ropa.csv")]),
        (
            Document::DeletionConcept,
            [include_str!("golden/deletion-concept.md"), include_str!("golden/deletion-concept.csv")],
        ),
        (
            Document::PrivacyNotice,
            [include_str!("golden/privacy-notice.md"), include_str!("golden/privacy-notice.csv")],
        ),
    ] {
        for (made, kept) in both(document, &set).iter().zip(kept) {
            let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
            assert!(made == kept, "{document:?}: {differs:#?}");
        }
    }
}

/// What is only hidden, or goes in part, or goes when a person says so, is not said to be deleted.
#[test]
fn what_happens_at_the_end_is_said_for_every_action() {
    let purge = "kind = \"purge\"\nquarantine = \"P0D\"";
    let said = |action: &str, minimum: &str| {
        let text = FILES[0].1.replace(purge, action).replace("min_keep = \"P3Y\"\n", minimum);
        ALL.map(|document| document.of(&set(&[("deals-moving", &text)]), DocumentForm::Markdown))
    };
    for (action, texts) in [
        (
            "kind = \"restrict\"",
            [
                "nothing is purged by this policy",
                "the use ends: it is kept",
                "We keep your data and do not show it any more",
            ],
        ),
        (
            "kind = \"redact\"\nquarantine = \"P0D\"\nfields = { notes = \"remove\" }",
            ["without some of its fields", "then redact: notes are taken out", "take a part of your data out for good"],
        ),
        (
            "kind = \"review\"\nquarantine = \"P0D\"",
            ["only what a person has decided", "a person decides item by item", "what somebody has decided to delete"],
        ),
    ] {
        for (document, text) in said(action, "").iter().zip(texts) {
            assert!(document.contains(text), "{action}: {text}\n{document}");
            assert!(
                !document.contains("delete your data for good") && !document.contains("delete it for good"),
                "{document}"
            );
        }
    }
    let [_, concept, _] = said("kind = \"restrict\"", "");
    assert!(concept.contains("No policy disposes of anything") && concept.contains("nothing is exported"), "{concept}");
    assert!(concept.contains("data class crm.deal, of which only the use ends"), "nothing of it is deleted: {concept}");
}

#[test]
fn how_long_exports_are_kept_is_said_where_a_policy_says_it() {
    let said = |export: &str| {
        let text = FILES[0].1.replace("[action]", &format!("{export}[action]"));
        ALL.map(|document| document.of(&set(&[("deals-moving", &text)]), DocumentForm::Markdown))
    };
    let [_, concept, notice] = said("[export]\nkeep = \"P90D\"\n\n");
    assert!(concept.contains("| how long exports are kept | 90 days, then they are destroyed |"), "{concept}");
    assert!(notice.contains("The copy is destroyed 90 days later."), "{notice}");
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let [ropa, concept, notice] = said(&format!("[export]\nencrypt_to = [\"{key}\"]\n\n"));
    for said in [&ropa, &concept] {
        assert!(said.contains("JSON Lines, CSV; encrypted to 1 public key)") && !said.contains(key), "{said}");
    }
    assert!(!notice.contains("encrypted"), "{notice}");
    let [_, concept, notice] = said("");
    assert!(concept.contains(&format!("| how long exports are kept | {TO_FILL_IN} |")), "{concept}");
    assert!(notice.contains(&format!("How long we keep the copy: {TO_FILL_IN}.")), "{notice}");
}

#[test]
fn the_order_of_the_files_changes_nothing_and_a_changed_policy_changes_the_digest() {
    let turned: Vec<_> = FILES.into_iter().rev().collect();
    let longer = FILES[0].1.replace("P3Y", "P4Y");
    for document in ALL {
        let made = both(document, &set(&FILES));
        assert_eq!(made, both(document, &set(&turned)));
        let changed = both(document, &set(&[(FILES[0].0, &longer)]));
        let digest = set(&FILES).digest().to_string();
        assert!(made.iter().all(|text| text.contains(&digest)), "{document:?}");
        assert!(changed.iter().all(|text| !text.contains(&digest)), "{document:?}");
    }
}

#[test]
fn the_access_that_runs_take_is_said_inside_and_names_nobody_outside() {
    let access =
        "\n[access]\nright = \"full_access\"\nprincipal = \"migration@example.org\"\nmax_duration = \"PT2H\"\n";
    let text = FILES[2].1.replace("state = \"simulate\"", "state = \"enforce\"") + access;
    let set = set(&[(FILES[2].0, &text)]);
    for form in [DocumentForm::Markdown, DocumentForm::Csv] {
        let [ropa, concept, notice] = ALL.map(|document| document.of(&set, form));
        assert!(
            concept.contains("migration@example.org has full access to it, for at most 2 hours each time"),
            "{concept}"
        );
        assert!(ropa.contains("for at most 2 hours each time; then taken back, and verified by a new login"), "{ropa}");
        assert!(!notice.contains("migration@") && !ropa.contains("migration@"), "{notice}");
    }
}

#[test]
fn the_notice_shows_nothing_that_could_name_a_person() {
    for text in both(Document::PrivacyNotice, &set(&FILES)) {
        for hidden in ["anna@", "@example.org", "Won", "A|B", "custom.audit", "helpdesk"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[test]
fn what_is_not_in_force_is_marked_everywhere() {
    let simulated = set(&FILES[2..3]);
    for document in ALL {
        let [page, file] = both(document, &simulated);
        assert!(page.to_lowercase().contains("not in force"), "{page}");
        assert!(file.contains("not in force") || file.contains("mail.archive,no,"), "{file}");
    }
    let [concept, _] = both(Document::DeletionConcept, &simulated);
    assert!(concept.contains("* data class mail.archive"), "{concept}");
}

#[test]
fn a_minimum_is_told_where_it_makes_a_shorter_part_longer() {
    let minimum = |file: &str| {
        let notice = Document::PrivacyNotice.of(&set(&[(FILES[0].0, file)]), DocumentForm::Markdown);
        notice.contains("Never less than 3 years from then.")
    };
    let part = "[[retention.override]]\nwhere = { field = \"stage\", op = \"absent\" }\nperiod = \"P1Y\"\n\n[schedule]";
    assert!(!minimum(FILES[0].1));
    assert!(minimum(&FILES[0].1.replace("[schedule]", part)));
}

#[test]
fn an_empty_set_says_so() {
    let empty = PolicySet::empty();
    for document in ALL {
        let [page, file] = both(document, &empty);
        assert!(page.ends_with(&format!("Digest of the policy set: `{}`\n", empty.digest())), "{page}");
        assert_eq!(file.matches("\r\n").count(), 1, "{file}");
    }
}

#[test]
fn periods_are_said_in_words() {
    for (text, says) in [
        ("P1Y", "1 year"),
        ("P3Y", "3 years"),
        ("P1Y6M", "1 year and 6 months"),
        ("P1Y2M3W4D", "1 year, 2 months, 3 weeks and 4 days"),
        ("P2W", "2 weeks"),
        ("P1D", "1 day"),
        ("P0D", "0 days"),
        ("PT720H", "720 hours"),
        ("PT1H30M1S", "1 hour, 30 minutes and 1 second"),
    ] {
        assert_eq!(period(text).in_words(), says);
    }
    for (ms, says) in
        [(86_400_000, "1 day"), (5_400_000, "90 minutes"), (1_500, "1500 milliseconds"), (0, "0 milliseconds")]
    {
        assert_eq!(words::elapsed(ms), says);
    }
}

#[test]
fn every_start_is_said_in_words() {
    let counted = |start, align| words::counted(period("P3Y"), &start, align, "deal");
    for (start, says) in [
        (StartKind::Created, "the deal was created"),
        (StartKind::Modified, "the deal was last changed"),
        (StartKind::LastActivity, "somebody last dealt with the deal"),
        (StartKind::Closed, "the deal was closed"),
        (StartKind::ContractEnd, "the contract ended"),
        (StartKind::Received, "the deal was received"),
        (StartKind::Occurred, "the event that the deal tells of took place"),
        (StartKind::Granted, "access was granted"),
        (StartKind::FirstSeen, "the deal was first recorded"),
        (StartKind::Event("booked".to_owned()), "the event “booked” took place"),
        (StartKind::Requested, "the data subject asked for it"),
        (StartKind::Reviewed, "somebody decided that the deal goes"),
    ] {
        assert_eq!(counted(start, Align::None), format!("3 years, counted from the day on which {says}"));
    }
}

#[test]
fn a_start_that_is_always_known_leaves_nothing_kept_for_ever() {
    let says = |fallback: &str| {
        let with = format!("on_missing_start = \"{fallback}\"\ntimezone");
        let file = FILES[0].1.replace("timezone", &with);
        let set = set(&[(FILES[0].0, &file)]);
        (rule::missing_start(&set.policies()[0]), Document::PrivacyNotice.of(&set, DocumentForm::Markdown))
    };
    let (rule, notice) = says("fallback:first_seen");
    assert_eq!(rule, "the day on which the deal was first recorded counts");
    assert!(notice.contains("we count from the day on which the deal was first recorded.\n"), "{notice}");
    let (rule, notice) = says("fallback:created");
    assert_eq!(rule, "the day on which the deal was created counts, and without that too it is kept");
    assert!(notice.contains("created; where we do not know that either, we keep it.\n"), "{notice}");
    let (rule, notice) = says("keep");
    assert_eq!(rule, "it is kept");
    assert!(notice.contains(" Where we do not know that day, we keep it.\n"), "{notice}");
}

#[test]
fn every_alignment_is_said_in_words() {
    let counted = |text, align| words::counted(period(text), &StartKind::Closed, align, "deal");
    for (align, says) in [
        (Align::EndOfMonth, "the end of the calendar month in which the deal was closed"),
        (Align::EndOfYear, "the end of the calendar year in which the deal was closed"),
        (
            Align::EndOfFiscalYear { first_month: 12 },
            "the end of the business year (it begins in December) in which the deal was closed",
        ),
    ] {
        assert_eq!(counted("P3Y", align), format!("3 years, counted from {says}"));
    }
    assert_eq!(counted("PT48H", Align::None), "48 hours, counted from the moment at which the deal was closed");
}

#[test]
fn every_comparison_is_said_in_words() {
    let text = |test: &str| {
        let file = FILES[0].1.replace("match_all = true", &format!("where = {{ field = {test} }}"));
        rule::scope(&set(&[(FILES[0].0, &file)]).policies()[0])
    };
    for (test, says) in [
        (r#""status", op = "ne", value = "Won""#, "status is not “Won”"),
        (r#""status", op = "not_in", value = ["Won", "Lost"]"#, "status is none of “Lost”, “Won”"),
        (r#""status", op = "prefix", value = "W""#, "status begins with “W”"),
        (r#""status", op = "suffix", value = "n""#, "status ends with “n”"),
        (r#""status", op = "contains", value = "o""#, "status contains “o”"),
        (r#""amount", op = "lt", value = 5"#, "amount is less than 5"),
        (r#""amount", op = "le", value = 5"#, "amount is at most 5"),
        (r#""amount", op = "gt", value = 5"#, "amount is more than 5"),
        (r#""shared", op = "eq", value = false"#, "shared is false"),
        (r#""close_date", op = "after", value = 2030-01-01"#, "close_date is after 2030-01-01"),
        (r#""close_date", op = "after", value = 2030-07-01T10:00:00Z"#, "close_date is after 2030-07-01T12:00:00"),
    ] {
        assert_eq!(text(test), format!("deals, where {says}"));
    }
}

#[test]
fn many_standard_periods_are_told() {
    let files: Vec<(String, String)> = (1..=11)
        .map(|years| {
            let id = format!("p{years}");
            let text = FILES[0].1.replace(FILES[0].0, &id).replace("\"P3Y\"", &format!("\"P{years}Y\""));
            (id, text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let told =
        |files| Document::DeletionConcept.of(&set(files), DocumentForm::Markdown).contains("11 standard periods");
    assert!(told(&files) && !told(&files[1..]));
}

#[test]
fn times_are_said_in_words_where_they_are_plain() {
    let times = |cron: &str| {
        let file = FILES[0].1.replace("\"on_demand\"", &format!("\"{cron}\"\ntimezone = \"Etc/UTC\""));
        words::trigger(&set(&[(FILES[0].0, &file)]).policies()[0].trigger)
    };
    for (cron, says) in [
        ("5 4 * * *", "every day at 04:05"),
        ("30 3 * * sun", "every week on sun at 03:30"),
        ("0 2 1 * *", "on day 1 of every month at 02:00"),
        ("0 5 15 jan *", "every year on 15 jan at 05:00"),
        ("0 5 1-3 * *", "at the times of “0 5 1-3 * *”: minute, hour, day, month, weekday"),
        ("0 5 * jan *", "at the times of “0 5 * jan *”: minute, hour, day, month, weekday"),
        ("0 */2 * * *", "at the times of “0 */2 * * *”: minute, hour, day, month, weekday"),
    ] {
        assert_eq!(times(cron), format!("{says} (Etc/UTC); a missed time is made up for once"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_text_of_a_policy_becomes_markup_a_row_or_a_formula(
        text in prop_oneof![any::<String>(), "[=+@|,;'\"`*_<>&\\\\\\[\\] \n\r\tab-]{1,30}"],
    ) {
        let written = serde_json::to_string(&text).unwrap();
        let file = FILES[0].1.replace("\"Deals that nobody works on\"", &written);
        let policy = PolicyFile { stem: FILES[0].0, text: &file };
        // What JSON writes and TOML refuses is not the point here.
        let Ok(set) = PolicySet::check(&[policy]) else { return Ok(()) };
        for document in ALL {
            let [page, file] = both(document, &set);
            prop_assert!(page.chars().all(|c| c == '\n' || !c.is_control()));
            for line in page.lines().filter(|line| line.starts_with("| ") && document == Document::Ropa) {
                let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
                prop_assert!(bars == 4 || bars == 3, "{line}");
            }
            let mut reader = csv::Reader::from_reader(file.as_bytes());
            let columns = reader.headers().unwrap().len();
            for row in reader.records() {
                let row = row.unwrap();
                prop_assert_eq!(row.len(), columns);
                prop_assert!(!row.iter().any(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])));
            }
        }
        prop_assert!(!write::escaped(&text).contains('\n'));
    }
}
