use std::ops::ControlFlow;

use proptest::prelude::*;
use retention_core::record::{DateRole, Relation, Visibility};

use super::super::SourceSpec;
use super::*;
use crate::connector::change::SourceRow;

const NAME: &str = "Ada_Quill@Contoso.com_20200302T0915301234";

fn read(files: &[(&str, &str)]) -> (Vec<Change>, Result<ReadSummary, FileError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    std::fs::create_dir(&path).unwrap();
    for (name, text) in files {
        std::fs::write(path.join(name), text).unwrap();
    }
    let ocm = Some(OcmSpec::default());
    let spec = SourceSpec { name: "ocm".into(), ocm, mappings: Vec::new(), limits: Limits::default() };
    let mut changes = Vec::new();
    let summary = spec.feed(&path).unwrap().read(&mut |change| {
        changes.push(change);
        ControlFlow::Continue(())
    });
    (changes, summary)
}

fn rows(changes: &[Change]) -> Vec<&SourceRow> {
    changes.iter().filter_map(|change| if let Change::Row(row) = change { Some(row) } else { None }).collect()
}

fn count(changes: &[Change], defect: Defect) -> usize {
    changes.iter().filter(|change| matches!(change, Change::Defect(seen, _) if *seen == defect)).count()
}

fn snapshots(changes: &[Change]) -> Vec<Kind> {
    let kind = |change: &Change| if let Change::SnapshotOf { kind, .. } = change { Some(*kind) } else { None };
    changes.iter().filter_map(kind).collect()
}

const TASKS: &str = "\"XrmID\",\"Subject\",\"DueDate\",\"DateTimeCreated\",\"LastModifiedTime\",\"Status\",\"ParentType\",\"ParentLink\",\"ItemId\"\r\n";

#[test]
fn the_name_divides_at_the_last_underscore_and_the_mailbox_is_lower_case() {
    let name = DirectoryName::parse(NAME).unwrap();
    assert_eq!(name.mailbox, "ada_quill@contoso.com");
    assert_eq!(name.exported_at_local.to_string(), "2020-03-02T09:15:30.1234");
    assert_eq!(name.older, Older::Refused);
    let meant = DirectoryName::parse(&format!("{NAME}.older")).unwrap();
    assert_eq!((meant.older, meant.exported_at_local), (Older::OnPurpose, name.exported_at_local));
    for wrong in [
        "ada_20200302T0915301234.old",
        "ada_20200302T091530",
        "_20200302T0915301234",
        "ada20200302T0915301234",
        "a_20201302T0915301234",
    ] {
        assert!(DirectoryName::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_blank_behind_the_address_makes_no_other_mailbox() {
    for name in ["ada@contoso.com _20200302T0915301234", "\u{feff}Ada@contoso.com_20200302T0915301234"] {
        assert_eq!(DirectoryName::parse(name).unwrap().mailbox, "ada@contoso.com");
    }
    assert!(DirectoryName::parse(" _20200302T0915301234").is_none());
}

#[test]
fn a_file_is_known_in_any_case_unless_two_differ_in_it_alone() {
    let contact = |id: &str| format!("\"XrmId\",\"Shared\"\r\n\"{id}\",\"False\"\r\n");
    let (one, other) = (contact("c1"), contact("c2"));
    let ids = |files: &[(&str, &str)]| {
        let (changes, summary) = read(files);
        let ids: Vec<String> = rows(&changes).iter().map(|row| row.external_id.clone()).collect();
        (ids, count(&changes, Defect::FileUnknown), summary.is_ok())
    };
    assert_eq!(ids(&[("contacts.CSV", &one)]), (vec!["c1".to_owned()], 0, true));
    assert_eq!(ids(&[("contacts.csv", &other), ("Contacts.csv", &one)]), (vec!["c1".to_owned()], 1, true));
    assert_eq!(ids(&[("contacts.csv", &other), ("CONTACTS.csv", &one)]), (vec![], 2, false));
}

#[test]
fn no_two_columns_fill_one_field() {
    let (changes, summary) =
        read(&[("Tasks.csv", "\"ItemId\",\"#3\",\"\",\"\",\"\"\r\n\"a\",\"\",\"\",\"\",\"\"\r\n")]);
    assert_eq!(summary.map(|summary| summary.rows), Ok(1));
    let Some(Change::Layout(layout)) = changes.iter().find(|change| matches!(change, Change::Layout(_))) else {
        panic!("{changes:?}")
    };
    let fields: HashSet<&str> = layout.columns.iter().map(|column| column.field.as_str()).collect();
    assert_eq!(fields.len(), 5, "{fields:?}");
    let (changes, _) = read(&[("Tasks.csv", "\"ItemId\",\"Subject\",\"SUBJECT\"\r\n\"a\",\"b\",\"c\"\r\n")]);
    assert_eq!(rows(&changes).len(), 0, "of two subjects nobody knows the right one");
}

#[test]
fn contacts_are_known_by_sorted_link_ids_and_custom_fields_by_their_schema() {
    let (changes, summary) = read(&[
        (
            "ContactSchema.csv",
            "\"FieldId\",\"FieldLabel\",\"FieldType\",\"FieldInfo\"\r\n\"f1\",\"Last visit\",\"Date\",\"\"\r\n\"f2\",\"Notes\",\"Text\",\"\"\r\n",
        ),
        (
            "Contacts.csv",
            "\"PersonaId\",\"XrmId\",\"DisplayName\",\"Shared\",\"CompanyLinks\",\"ItemId\",\"Last visit\",\"Notes\"\r\n\
            \"p1\",\"b|a\",\"Zo?\",\"True\",\"c1|c2\",,\"2020-04-01T00:00:00Z\",\" \"\r\n\"p2\",\"\",\"=B\",\"False\",\"\",\"stale\",\"\",\r\n",
        ),
    ]);
    let rows = rows(&changes);
    assert_eq!(rows[0].external_id, "contact:f1");
    let [first, second] = [rows[2], rows[3]];
    assert_eq!(
        (first.external_id.as_str(), first.other_ids.as_slice()),
        ("a|b", &["a".to_owned(), "b".to_owned()][..])
    );
    assert_eq!((first.visibility, second.visibility), (Visibility::Shared, Visibility::Private));
    assert_eq!(first.dates, [(DateRole::Named(0), "2020-04-01T00:00:00Z".parse().unwrap())]);
    assert_eq!(first.links.len(), 2);
    assert_eq!(first.cells.iter().skip(5).collect::<Vec<_>>(), [None, Some("2020-04-01T00:00:00Z"), Some(" ")]);
    assert_eq!(second.external_id, "p2");
    assert_eq!(first.mailbox.as_deref(), Some("ada_quill@contoso.com"));
    for defect in [
        Defect::CustomHidesColumn,
        Defect::CharactersLost,
        Defect::IdFallback,
        Defect::FormulaText,
        Defect::ContactItemIdUntrusted,
    ] {
        assert_eq!(count(&changes, defect), 1, "{defect:?}");
    }
    assert_eq!((count(&changes, Defect::FileAbsent), count(&changes, Defect::PostsNeverWritten)), (4, 1));
    assert_eq!(snapshots(&changes), [Kind::Contact], "absent files tell nothing, one schema is not all");
    assert_eq!(summary.unwrap().rows, 4);
}

#[test]
fn shared_of_deals_is_turned_and_a_close_date_closes_only_closed_deals() {
    let (changes, _) = read(&[(
        "Deals.csv",
        "\"XrmId\",\"Amount\",\"Status\",\"CloseDate\",\"Shared\"\r\n\
        \"d1\",\"USD 12.500,00\",\"Won\",\"2020-03-31\",\"True\"\r\n\"d2\",\"USD \",\"Open\",\"2020-03-31\",\"False\"\r\n\"d3\",\"12,500\",\"7\",,\r\n",
    )]);
    let rows = rows(&changes);
    assert_eq!(
        rows.iter().map(|row| row.visibility).collect::<Vec<_>>(),
        [Visibility::Private, Visibility::Shared, Visibility::Unknown]
    );
    assert_eq!((rows[0].dates[0].0, rows[1].dates[0].0), (DateRole::Closed, DateRole::Deadline));
    assert_eq!(rows[0].dates[0].1, "2020-04-01T11:59:59.999999Z".parse().unwrap());
    assert_eq!((count(&changes, Defect::AmountAmbiguous), count(&changes, Defect::DealStatusUnknown)), (1, 1));
}

#[test]
fn a_task_that_repeats_an_id_keeps_its_cells_and_loses_link_and_deadline() {
    let (changes, _) = read(&[(
        "Tasks.csv",
        &format!(
            "{TASKS}\
        \"x1\",\"a\",\"2020-04-12\",\"2020-04-09T07:00:00Z\",\"2020-04-09T08:00:00Z\",\"Completed\",\"Deal\",\"d1\",\"i1\"\r\n\
        \"x1\",\"b\",\"2020-04-12\",\"2020-04-09T07:00:00Z\",\"2020-04-09T08:00:00Z\",\"NotStarted\",\"Deal\",\"d1\",\"i2\"\r\n"
        ),
    )]);
    let rows = rows(&changes);
    let roles = |row: &SourceRow| row.dates.iter().map(|date| date.0).collect::<Vec<_>>();
    assert_eq!(roles(rows[0]), [DateRole::Created, DateRole::Modified, DateRole::Closed, DateRole::Deadline]);
    assert_eq!((rows[0].links[0].relation, rows[0].links[0].kind), (Relation::About, Kind::Deal));
    assert_eq!(roles(rows[1]), [DateRole::Created, DateRole::Modified]);
    assert!(rows[1].links.is_empty() && rows[1].other_ids.is_empty());
    assert_eq!((rows[1].external_id.as_str(), rows[1].cells.get(7)), ("i2", Some("d1")));
    assert_eq!(count(&changes, Defect::TaskStale), 1);
}

#[test]
fn activities_get_the_same_ids_again_whatever_the_order_of_columns() {
    let one = "\"ActionVerb\",\"EventTime\",\"LinkedContactIds\"\r\n\"Post\",\"2020-02-18T09:00:00.10Z\",\"a|b\"\r\n\"Post\",\"2020-02-18T09:00:00.10Z\",\"a|b\"\r\n";
    let two = "\"EventTime\",\"ActionVerb\",\"LinkedContactIds\"\r\n\"2020-02-18T09:00:00.10Z\",\"Post\",\"a|b\"\r\n\"2020-02-18T09:00:00.10Z\",\"Post\",\r\n";
    let (first, second) = (read(&[("Activities.csv", one)]).0, read(&[("Activities.csv", two)]).0);
    let ids = |changes: &[Change]| rows(changes).iter().map(|row| row.external_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first)[0], ids(&second)[0]);
    assert!(ids(&first)[1].ends_with("-2") && ids(&second)[1].ends_with("-1") && ids(&second)[0] != ids(&second)[1]);
    assert_eq!(rows(&first)[0].dates, [(DateRole::Occurred, "2020-02-18T21:00:00.1Z".parse().unwrap())]);
    assert_eq!((count(&first, Defect::ZoneUnknown), count(&first, Defect::ForeignRow)), (2, 2));
    let many = format!("\"EventTime\"\r\n{}", "\"1601-01-01T00:00:00.00Z\"\r\n".repeat(101));
    let (changes, _) = read(&[("Activities.csv", &many)]);
    assert_eq!((count(&changes, Defect::PagesUnfiltered), count(&changes, Defect::SentinelDate)), (1, 101));
    assert!(snapshots(&changes).is_empty());
}

#[test]
fn a_broken_file_or_row_rejects_itself_and_its_snapshot_only() {
    let (changes, summary) = read(&[
        ("Contacts.csv", "\"PersonaId\",\"XrmIb\"\r\n\"p\",\"x\"\r\n"),
        ("Companies.csv", "\"XrmId\",\"Shared\"\r\n\"c1\",\"True\"\r\n\"c2\"\r\n"),
        ("Posts.csv", "\"XrmId\",\"ItemId\"\r\n,\"i1\"\r\n"),
        ("Tasks.csv", &format!("{TASKS}\"x\",\"\",\"\",\"\",\"\",\"\",\"Moon\",\"l\",\"i\"")),
        ("notes.txt", "x"),
    ]);
    let told: Vec<String> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Rejected(rejection) => Some(format!("{} {}", rejection.place, rejection.code.name())),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["Contacts.csv column_missing", "Companies.csv line 3 column 2 ragged"]);
    assert_eq!(snapshots(&changes), [Kind::Post]);
    let of_the_moon = rows(&changes).into_iter().find(|row| row.external_id == "i").unwrap();
    let about: Vec<Kind> = of_the_moon.links.iter().map(|link| link.kind).collect();
    assert_eq!(about, [Kind::Contact, Kind::Company, Kind::Deal], "it counts for whichever of them has that id");
    assert_eq!(
        (
            count(&changes, Defect::LineEndMissing),
            count(&changes, Defect::FileUnknown),
            count(&changes, Defect::ParentUnknown)
        ),
        (1, 1, 1)
    );
    assert_eq!(summary.unwrap().rejected, 2);
    assert_eq!(read(&[("other.csv", "x")]).1, Err(FileError::NoExportFile));
}

#[test]
fn exports_that_were_put_together_are_told_apart_by_their_headers() {
    let deals = |text: &str| {
        let (changes, _) = read(&[("Deals.csv", text)]);
        let rejected = changes.iter().filter_map(|change| match change {
            Change::Rejected(rejection) => Some((rejection.place.line, rejection.code.name())),
            _ => None,
        });
        let ids: Vec<String> = rows(&changes).iter().map(|row| row.external_id.clone()).collect();
        (ids, rejected.collect::<Vec<_>>(), snapshots(&changes))
    };
    let links = "\"XrmId\",\"ContactLinks\",\"CompanyLink\"\r\n";
    let (first, second) = ("\"d1\",\"c1\",\"f1\"\r\n", "\"d2\",\"c2\",\"f2\"\r\n");
    let (ids, rejected, whole) = deals(&format!("{links}{first}{links}{second}"));
    assert_eq!((ids, rejected), (vec!["d1".to_owned(), "d2".to_owned()], vec![(3, "header_repeated")]));
    assert!(whole.is_empty(), "{whole:?}");
    // The export of another day has its links the other way round, or another custom field.
    for other in ["\"XrmId\",\"CompanyLink\",\"ContactLinks\"\r\n", "\"XrmId\",\"ContactLinks\",\"Segment\"\r\n"] {
        let (ids, rejected, whole) = deals(&format!("{links}{first}{other}{second}"));
        assert_eq!(ids, ["d1"], "{other}");
        assert_eq!(rejected, [(3, "header_changed"), (4, "header_changed")], "{other}");
        assert!(whole.is_empty(), "{whole:?}");
    }
}

#[test]
fn what_another_program_saved_again_is_refused_by_its_name_for_it() {
    for (text, how) in [
        ("PersonaId;XrmId;Shared\r\np;x;True\r\n", "with semicolons"),
        ("PersonaId\tXrmId\r\n", "with tabulators"),
        ("\"PersonaId\";\"XrmId\"\r\n\"p\";\"x\"\r\n", "with semicolons"),
        ("\"PersonaId\"\t\"XrmId\"\r\n", "with tabulators"),
        ("\0P\0e\0r\0s\0o\0n\0a\0I\0d\0,\0X\0r\0m\0I\0d\0\n", "in UTF-16"),
        ("P\0,\0X\0r\0m\0I\0d\0\n\0", "in UTF-16"),
        ("\"PersonaId\"x,\"XrmId\"\r\n", ""),
    ] {
        let (changes, _) = read(&[("Contacts.csv", text)]);
        let code = changes.iter().find_map(|change| match change {
            Change::Rejected(rejection) => Some(rejection.code.clone()),
            _ => None,
        });
        if how.is_empty() {
            // Text behind a quote: that is said first.
            assert!(matches!(code, Some(RejectCode::File(FileError::HeaderBroken(_)))), "{code:?}");
        } else {
            assert_eq!(code, Some(RejectCode::File(FileError::ExportResaved { how })));
        }
    }
}

#[test]
fn every_oddity_of_a_file_is_told_where_it_stands() {
    const SCHEMA: &str = "\"FieldId\",\"FieldLabel\",\"FieldType\",\"FieldInfo\"\r\n";
    let companies = |rows: &str| ("Companies.csv", format!("\"XrmId\",\"Shared\",\"Notes\"\r\n{rows}"));
    let contacts =
        |column: &str| ("Contacts.csv", format!("\"PersonaId\",\"XrmId\",\"{column}\"\r\n\"p\",\"x\",\"a@x|b@x\"\r\n"));
    let schema = |fields: &str| ("ContactSchema.csv", format!("{SCHEMA}{fields}"));
    let task =
        |created: &str| ("Tasks.csv", format!("{TASKS}\"x\",\"a\",\"\",\"{created}\",\"\",\"\",\"\",\"\",\"i\"\r\n"));
    let cut = format!("\"c\",\"True\",\"{}\"\r\n", "n".repeat(254));
    for (files, defect, times) in [
        (vec![companies("\"c\",\"perhaps\",\"\"\r\n")], Defect::SharedUnreadable, 1),
        (vec![companies("\"c\",\"True\",\"<BODY>n\"\r\n")], Defect::NotesMarkup, 1),
        (vec![companies(&cut)], Defect::NotesPerhapsCut, 1),
        (vec![companies("\"c\",\"True\"\r\n")], Defect::SnapshotIncomplete, 1),
        (vec![contacts("Email1Address")], Defect::ValuesJoined, 1),
        (vec![contacts("Region")], Defect::CustomWithoutSchema, 1),
        (vec![contacts("Region"), schema("\"f\",\"Ghost\",\"Text\",\"\"\r\n")], Defect::CustomWithoutColumn, 1),
        // The field in its schema, and the column that it could be.
        (
            vec![contacts("Region"), schema("\"f\",\"Region\",\"Text\",\"\"\r\n\"g\",\"region\",\"Date\",\"\"\r\n")],
            Defect::CustomRepeated,
            2,
        ),
        (vec![contacts("Region"), schema("\"f\",\"Region\",\"Blob\",\"\"\r\n")], Defect::CustomTypeUnknown, 2),
        (vec![task("4/13/2020 7:00:00 AM")], Defect::CultureDate, 1),
        (vec![task("4/5/2020 7:00:00 AM")], Defect::DateAmbiguous, 1),
        (vec![task("soon")], Defect::DateUnreadable, 1),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (changes, _) = read(&files);
        assert_eq!(count(&changes, defect), times, "{defect:?}: {changes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_text_in_any_file_is_read_without_panic(text in "[\"a,|=?\\r\\n0-9Z:T-]{0,200}", utf8 in "\\PC{0,60}") {
        for (name, kind, required) in DATA {
            let header: Vec<String> = field::standard(kind).iter().take(3).map(|f| f.ocm_column.to_owned()).collect();
            let whole = format!("\"{required}\",{}\n{text}\n{utf8}\n", header.iter().filter(|h| *h != required).cloned().collect::<Vec<_>>().join(","));
            let (changes, _) = read(&[(name, &whole), ("ContactSchema.csv", &text)]);
            prop_assert!(rows(&changes).iter().all(|row| !row.external_id.is_empty()));
        }
    }
}

#[test]
fn a_bundle_is_a_part_so_that_nothing_is_gone_after_it() {
    let contacts = ("Contacts.csv", "\"PersonaId\",\"XrmId\",\"Shared\"\r\n\"p\",\"x\",\"True\"\r\n");
    let (changes, _) = read(&[contacts]);
    assert_eq!((snapshots(&changes), count(&changes, Defect::BundleInPart)), (vec![Kind::Contact], 0));
    let beside = ["manifest.json", "manifest-items.jsonl", "items.jsonl", "layouts.jsonl"].map(|name| (name, "{}"));
    // Its schema is made of its own columns, and was never recorded.
    let schema = "\"FieldId\",\"FieldLabel\",\"FieldType\",\"FieldInfo\"\r\n\"custom.A\",\"A\",\"Text\",\"\"\r\n";
    let others = [contacts, ("ContactSchema.csv", schema), ("notes.txt", "n"), ("Contacts.csv.age", "decrypted above")];
    let (changes, summary) = read(&[others.as_slice(), beside.as_slice()].concat());
    assert_eq!(count(&changes, Defect::SnapshotIncomplete), 0);
    assert_eq!((rows(&changes).len(), snapshots(&changes)), (1, Vec::new()));
    assert_eq!((count(&changes, Defect::BundleInPart), count(&changes, Defect::FileUnknown)), (1, 1));
    assert_eq!(summary.unwrap().rejected, 0);
    // Copied by a program that changes the case of names.
    let (changes, _) = read(&[("CONTACTS.CSV", contacts.1), ("MANIFEST.JSON", "{}"), ("MANIFEST-ITEMS.JSONL", "{}")]);
    assert_eq!((rows(&changes).len(), snapshots(&changes)), (1, Vec::new()));
    assert_eq!((count(&changes, Defect::BundleInPart), count(&changes, Defect::FileUnknown)), (1, 0));
}
