use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proptest::prelude::*;
use retention_core::evidence::{ExportLayout, ParsedItem};
use retention_core::id::{LayoutId, Position};
use retention_core::record::{Column, EntityRecord, FieldType, Layout, Visibility, field};
use retention_core::table::spreadsheet_plain;
use tempfile::TempDir;

use super::*;
use crate::halt::Halt;

mod encrypted;

type Formats = BTreeSet<ExportFormat>;

fn all_formats() -> Formats {
    [ExportFormat::Jsonl, ExportFormat::Csv, ExportFormat::Xlsx].into()
}

fn spec(formats: Formats, csv_profile: CsvProfile) -> BundleSpec {
    BundleSpec {
        run: RunId(Position(10)),
        saga: SagaId(Position(11)),
        idempotency_key: Digest::of(b"saga 11 export"),
        mailbox: Some(MailboxName { entity: EntityId(1), address: "ada@contoso.com".to_owned() }),
        policy: "contacts".to_owned(),
        policy_digest: Digest::of(b"policy"),
        plan_digest: Digest::of(b"plan"),
        exported_at: "2026-03-01T10:00:00.1234Z".parse().unwrap(),
        zone: TimeZone::UTC,
        formats,
        csv_profile,
        encryption: None,
    }
}

fn layout(kind: Kind, columns: &[(&str, &str, FieldType)]) -> ExportLayout {
    ExportLayout::of(Layout {
        source: "crm".to_owned(),
        kind,
        columns: columns
            .iter()
            .map(|(name, field, field_type)| Column {
                name: (*name).to_owned(),
                field: (*field).to_owned(),
                field_type: *field_type,
            })
            .collect(),
        named_dates: Vec::new(),
    })
}

fn record(cells: &[Option<&str>]) -> EntityRecord {
    EntityRecord {
        layout: LayoutId(1),
        mailbox: Some(EntityId(1)),
        visibility: Visibility::Private,
        external_id: "x".to_owned(),
        other_ids: Vec::new(),
        dates: Vec::new(),
        links: Vec::new(),
        cells: cells.iter().copied().collect(),
    }
}

/// Items that a test owns.
#[derive(Default)]
struct Items(Vec<(ExportLayout, EntityRecord)>);

impl Items {
    fn with(mut self, layout: &ExportLayout, cells: &[Option<&str>]) -> Self {
        self.0.push((layout.clone(), record(cells)));
        self
    }

    fn each(&self) -> impl Iterator<Item = ExportItem<'_>> {
        self.0.iter().zip(2..).map(|((layout, record), number)| ExportItem {
            entity: EntityId(number),
            version: Position(u64::from(number) * 10),
            layout,
            record,
        })
    }

    fn expected(&self) -> Vec<ExpectedItem> {
        self.each().map(|item| item.line().expected()).collect()
    }
}

fn some_items() -> Items {
    let contacts = layout(
        Kind::Contact,
        &[
            ("Name", "display_name", FieldType::List),
            ("Born", "birthday", FieldType::Date),
            ("Score", "custom.Score", FieldType::Number),
            ("VIP", "custom.VIP", FieldType::Boolean),
        ],
    );
    let tasks = layout(Kind::Task, &[("Subject", "subject", FieldType::Text)]);
    Items::default()
        .with(&contacts, &[Some("Zoë, \"Z\"\r\nNäslund"), Some("1980-02-29"), Some("12.5"), Some("True")])
        .with(&contacts, &[Some("=1+1"), None, Some(""), Some(" ")])
        .with(&tasks, &[Some("call back")])
}

struct Written {
    root: TempDir,
    bundle: Bundle,
}

impl Written {
    fn of(items: &Items, formats: Formats, profile: CsvProfile) -> Self {
        let root = tempfile::tempdir().unwrap();
        let bundle = write(root.path(), spec(formats, profile), items);
        Self { root, bundle }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join(self.bundle.name.as_str())
    }

    fn verify(&self, expected: Vec<ExpectedItem>) -> Result<Verified, VerifyError> {
        verify(self.root.path(), &self.bundle.name, self.bundle.manifest, None, expected.into_iter(), &Halt::default())
    }

    fn csv(&self, stem: &str) -> Vec<Vec<Option<String>>> {
        parse_csv(&fs::read_to_string(self.directory().join(format!("{stem}.csv"))).unwrap())
    }
}

fn write(root: &Path, spec: BundleSpec, items: &Items) -> Bundle {
    let outcome =
        DiskArchive::at(root).write(spec, &mut |sink| items.each().try_for_each(|item| sink.add(&item, &item.line())));
    match outcome {
        Outcome::Applied(bundle) => bundle,
        other => panic!("not written: {other:?}"),
    }
}

/// Reads what `Export-Csv` writes, and keeps null apart from `""`.
fn parse_csv(text: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = vec![vec![None]];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let row: &mut Vec<Option<String>> = rows.last_mut().unwrap();
        match character {
            '"' => {
                let mut cell = String::new();
                loop {
                    match characters.next().unwrap() {
                        '"' if characters.next_if_eq(&'"').is_some() => cell.push('"'),
                        '"' => break,
                        other => cell.push(other),
                    }
                }
                *row.last_mut().unwrap() = Some(cell);
            }
            ',' => row.push(None),
            '\r' => {
                assert_eq!(characters.next(), Some('\n'));
                rows.push(vec![None]);
            }
            other => panic!("unquoted {other:?}"),
        }
    }
    assert_eq!(rows.pop(), Some(vec![None]));
    rows
}

fn files_of(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_bundle_is_whole_private_and_verifies() {
    let items = some_items();
    let written = Written::of(&items, all_formats(), CsvProfile::Exact);
    assert_eq!(written.bundle.name.as_str(), "ada@contoso.com_20260301T1000001234");
    let verified = written.verify(items.expected()).unwrap();
    assert_eq!((verified.items, verified.bytes), (3, written.bundle.bytes));
    assert_eq!(files_of(written.root.path()), [written.bundle.name.as_str()]);
    assert_eq!(
        files_of(&written.directory()),
        [
            "ContactSchema.csv",
            "Contacts.csv",
            "Tasks.csv",
            "items.jsonl",
            "items.xlsx",
            "layouts.jsonl",
            "manifest-items.jsonl",
            "manifest.json"
        ]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&written.directory()), 0o700);
    for file in files_of(&written.directory()) {
        assert_eq!(mode(&written.directory().join(file)), 0o600);
    }
}

#[test]
fn the_lines_read_back_into_the_same_records() {
    let items = some_items();
    let written = Written::of(&items, [ExportFormat::Jsonl].into(), CsvProfile::Exact);
    let text = fs::read_to_string(written.directory().join(ITEMS_FILE)).unwrap();
    let layouts = fs::read_to_string(written.directory().join(LAYOUTS_FILE)).unwrap();
    let layouts: Vec<_> = layouts.lines().map(|line| ExportLayout::parse_line(line.as_bytes()).unwrap()).collect();
    assert_eq!(text.lines().count(), items.0.len());
    for (line, item) in text.lines().zip(items.each()) {
        let parsed = ParsedItem::parse_line(line.as_bytes()).unwrap();
        assert!(parsed.record == *item.record);
        assert!(layouts.iter().any(|layout| layout.digest() == parsed.layout && layout == item.layout));
    }
}

#[test]
fn files_of_the_script_come_out_byte_for_byte() {
    let companies = concat!(
        "\"XrmId\",\"DisplayName\",\"BusinessHomePage\",\"BusinessPhone\",\"EmailAddress\",\"BusinessAddressStreet\",",
        "\"BusinessAddressCity\",\"BusinessAddressState\",\"BusinessAddressPostalCode\",",
        "\"BusinessAddressCountry/Region\",\"Notes\",\"Shared\",\"ItemId\",\"DealLinks\",\"ContactLinks\",\"VIP\"\r\n",
        "\"6f\",\"Harbour, Sons & Co\",\"\",\"+1 (425) 555-0120\",\"desk@contoso.com\",\"Pier 4\r\nUnit \"\"B\"\"\",",
        "\"Eastmoor\",\"\",\"\",\"\",\"\",\"False\",\"AAMk=\",\"\",\"0b|0c\",\"true\"\r\n",
        "\"70\",\"Tidewater Caf?\",,,,,,,,,,\"True\",\"AAMl=\",\"d3\",\"\",\" \"\r\n",
    );
    let rows = parse_csv(companies);
    let fields: Vec<_> = rows[0]
        .iter()
        .map(|name| {
            let name = name.as_deref().unwrap();
            let standard = field::standard(Kind::Company).iter().find(|field| field.ocm_column == name);
            (name, standard.map_or_else(|| format!("custom.{name}"), |field| field.name.to_owned()))
        })
        .collect();
    let columns: Vec<_> = fields.iter().map(|(name, field)| (*name, field.as_str(), FieldType::Text)).collect();
    let layout = layout(Kind::Company, &columns);
    let mut items = Items::default();
    for row in &rows[1..] {
        items = items.with(&layout, &row.iter().map(Option::as_deref).collect::<Vec<_>>());
    }
    let written = Written::of(&items, [ExportFormat::Csv].into(), CsvProfile::Exact);
    assert_eq!(fs::read_to_string(written.directory().join("Companies.csv")).unwrap(), companies);
    let schema = written.csv("CompanySchema");
    assert_eq!(schema[1], [Some("custom.VIP"), Some("VIP"), Some("Text"), Some("")].map(|c| c.map(str::to_owned)));
}

#[test]
fn other_sources_are_arranged_into_the_columns_of_the_script() {
    let first = layout(Kind::Deal, &[("Title", "name", FieldType::Text), ("Open", "shared", FieldType::Boolean)]);
    let second = layout(
        Kind::Deal,
        &[
            ("Note\"s", "custom.Note\"s", FieldType::Text),
            ("Title", "name", FieldType::Text),
            ("Owner", "x", FieldType::Text),
        ],
    );
    let items = Items::default()
        .with(&first, &[Some("a\r\n\"b\""), Some("TRUE")])
        .with(&second, &[Some(","), Some("c"), None])
        .with(&first, &[None, Some("no")]);
    let written = Written::of(&items, [ExportFormat::Csv].into(), CsvProfile::Exact);
    let rows = written.csv("Deals");
    let standard = field::standard(Kind::Deal);
    let header: Vec<_> = rows[0].iter().map(|name| name.as_deref().unwrap()).collect();
    assert_eq!(header[..standard.len()], standard.iter().map(|field| field.ocm_column).collect::<Vec<_>>());
    assert_eq!(header[standard.len()..], ["Note\"s", "Owner (2)"]);
    assert!(rows.iter().all(|row| row.len() == header.len()));
    let cell = |row: usize, name: &str| rows[row][header.iter().position(|n| *n == name).unwrap()].as_deref();
    assert_eq!((cell(1, "DealName"), cell(1, "Shared")), (Some("a\r\n\"b\""), Some("False")));
    assert_eq!((cell(2, "DealName"), cell(2, "Note\"s"), cell(2, "Shared")), (Some("c"), Some(","), None));
    assert_eq!((cell(3, "DealName"), cell(3, "Shared")), (None, Some("no")));
    written.verify(items.expected()).unwrap();
}

#[test]
fn templates_go_into_the_schema_of_their_parent() {
    let columns = |extra: &[(&'static str, &'static str, FieldType)]| {
        let mut columns: Vec<_> =
            field::standard(Kind::Template).iter().map(|f| (f.ocm_column, f.name, FieldType::Text)).collect();
        columns.extend_from_slice(extra);
        layout(Kind::Template, &columns)
    };
    let known = columns(&[("Parent", "parent_type", FieldType::Text)]);
    let contacts =
        layout(Kind::Contact, &[("VIP", "custom.VIP", FieldType::Boolean), ("X", "custom.X", FieldType::Date)]);
    let items = Items::default()
        .with(&known, &[Some("id1"), Some("VIP"), Some("Boolean"), Some(""), Some("Contact")])
        .with(&columns(&[]), &[Some("id2"), Some("Other"), Some("Text"), Some("")])
        .with(&contacts, &[Some("true"), None]);
    let written = Written::of(&items, [ExportFormat::Csv].into(), CsvProfile::Exact);
    let schema = written.csv("ContactSchema");
    assert_eq!(schema[0].len(), 4);
    let ids: Vec<_> = schema[1..].iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(ids, ["id1", "custom.X"]);
    assert_eq!(written.csv("Templates").len(), 2);
    written.verify(items.expected()).unwrap();
}

#[test]
fn the_workbook_is_typed_and_holds_no_formula() {
    use calamine::{Data, Reader as _, Xlsx};
    let long = "é".repeat(40_000);
    let contacts = layout(Kind::Contact, &[("N", "custom.N", FieldType::Number), ("Notes", "notes", FieldType::Text)]);
    let items = some_items().with(&contacts, &[Some("007"), Some(&long)]);
    let written = Written::of(&items, all_formats(), CsvProfile::Exact);
    let (manifest, _) = read_manifest(written.root.path(), &written.bundle.name).unwrap();
    assert_eq!(manifest.file(WORKBOOK_FILE).unwrap().cut_cells, 1);
    let mut book: Xlsx<_> = calamine::open_workbook(written.directory().join(WORKBOOK_FILE)).unwrap();
    assert_eq!(book.sheet_names(), ["Contacts", "Tasks", "Contacts (2)"]);
    let sheet = book.worksheet_range("Contacts").unwrap();
    assert_eq!(sheet.get((1, 0)), Some(&Data::String("E2".to_owned())));
    assert!(matches!(sheet.get((1, 2)), Some(Data::DateTime(date)) if date.as_f64() == 29_280.0));
    assert_eq!(sheet.get((1, 3)), Some(&Data::Float(12.5)));
    assert_eq!(sheet.get((1, 4)), Some(&Data::Bool(true)));
    assert_eq!(sheet.get((2, 1)), Some(&Data::String("=1+1".to_owned())));
    assert!(book.worksheet_formula("Contacts").unwrap().is_empty());
    let second = book.worksheet_range("Contacts (2)").unwrap();
    assert_eq!(second.get((1, 1)), Some(&Data::String("007".to_owned())));
    assert_eq!(second.get((1, 2)).unwrap().to_string().chars().count(), 32_767);
}

#[test]
fn every_kind_of_difference_is_named() {
    let items = some_items();
    type Breaks = fn(&Path);
    let broken: [(&str, Breaks); 7] = [
        ("file_length", |d| fs::write(d.join(ITEMS_FILE), b"").unwrap()),
        ("file_length", |d| {
            let mut bytes = fs::read(d.join("Tasks.csv")).unwrap();
            bytes.push(b'\n');
            fs::write(d.join("Tasks.csv"), bytes).unwrap();
        }),
        ("file_missing", |d| fs::remove_file(d.join("Tasks.csv")).unwrap()),
        ("file_extra", |d| fs::write(d.join("more.csv"), b"").unwrap()),
        ("file_missing", |d| {
            fs::rename(d.join("Tasks.csv"), d.with_extension("elsewhere")).unwrap();
            std::os::unix::fs::symlink(d.with_extension("elsewhere"), d.join("Tasks.csv")).unwrap();
        }),
        ("manifest_changed", |d| {
            let text = fs::read_to_string(d.join(MANIFEST_FILE)).unwrap();
            fs::write(d.join(MANIFEST_FILE), text.replace("\"contacts\"", "\"contract\"")).unwrap();
        }),
        ("item_twice", |d| {
            let text = fs::read_to_string(d.join(ITEMS_FILE)).unwrap();
            let line = text.lines().next().unwrap();
            let mut twice = format!("{line}\n{line}\n");
            twice.extend(std::iter::repeat_n(' ', text.len() - twice.len()));
            fs::write(d.join(ITEMS_FILE), twice).unwrap();
        }),
    ];
    for (code, break_it) in broken {
        let written = Written::of(&items, [ExportFormat::Csv].into(), CsvProfile::Exact);
        break_it(&written.directory());
        let error = written.verify(items.expected()).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
    }
}

#[test]
fn what_the_log_says_is_compared_item_by_item() {
    let items = some_items();
    let written = Written::of(&items, [ExportFormat::Jsonl].into(), CsvProfile::Exact);
    let code = |change: fn(&mut Vec<ExpectedItem>)| {
        let mut expected = items.expected();
        change(&mut expected);
        written.verify(expected).map_err(|error| error.code())
    };
    assert!(code(|e| e.reverse()).is_ok());
    assert_eq!(code(|e| e.truncate(2)), Err("item_extra"));
    assert_eq!(code(|e| e[0].version = Position(1)), Err("item_changed"));
    assert_eq!(code(|e| e[0].digest = Digest::of(b"")), Err("item_changed"));
    assert_eq!(code(|e| e.push(ExpectedItem { entity: EntityId(99), ..e[0] })), Err("items_missing"));
    assert_eq!(code(|e| e.push(e[0])), Err("item_twice"));
}

#[test]
fn an_unfinished_bundle_is_recognised_swept_and_replaced() {
    let root = tempfile::tempdir().unwrap();
    let archive = DiskArchive::at(root.path());
    let key = spec(Formats::new(), CsvProfile::Exact).idempotency_key;
    assert_eq!(archive.probe(key).unwrap(), Probe::Absent);

    let begin = || BundleWriter::create(root.path(), spec(all_formats(), CsvProfile::Exact)).unwrap();
    std::mem::forget(begin());
    assert_eq!(archive.probe(key).unwrap(), Probe::Partial);
    assert_eq!(archive.probe(Digest::of(b"other")).unwrap(), Probe::Absent);
    assert_eq!(archive.list().unwrap().count(), 0);
    std::mem::forget(begin());
    assert_eq!(files_of(root.path()).len(), 1, "the same key replaces its own remains");
    assert_eq!(archive.sweep().unwrap(), 1);
    assert_eq!(files_of(root.path()).len(), 0);
    drop(begin());
    assert_eq!(files_of(root.path()).len(), 0);
    std::mem::forget(begin());
    assert_eq!(archive.discard(Digest::of(b"other")), Outcome::Applied(()));
    assert_eq!(files_of(root.path()).len(), 1, "it may still be written");
    assert_eq!(archive.discard(key), Outcome::Applied(()));
    assert_eq!(files_of(root.path()).len(), 0);
    // As sagas of a run that was cancelled do beside each other: one has removed what another has just seen.
    for number in 1..=50 {
        let name = format!(".ada@contoso.com_20260301T10000012{number:02}.removing");
        fs::create_dir(root.path().join(&name)).unwrap();
        fs::write(root.path().join(&name).join("items.jsonl"), b"{}").unwrap();
    }
    std::thread::scope(|scope| {
        let beside: Vec<_> = (0..4).map(|_| scope.spawn(|| archive.discard(key))).collect();
        for discarded in beside {
            assert_eq!(discarded.join().unwrap(), Outcome::Applied(()));
        }
    });
    assert_eq!(files_of(root.path()).len(), 0);

    let items = some_items();
    let bundle = write(root.path(), spec(all_formats(), CsvProfile::Exact), &items);
    assert_eq!(archive.probe(key).unwrap(), Probe::Finished(bundle.clone()));
    let next = write(root.path(), spec(all_formats(), CsvProfile::Exact), &items);
    assert_eq!(next.name.as_str(), "ada@contoso.com_20260301T1000001235");
    assert_eq!(next.exported_at.0 - bundle.exported_at.0, 100);
    assert_eq!(archive.list().unwrap().count(), 2);
    fs::create_dir(root.path().join(next.name.removing())).unwrap();
    assert_eq!(archive.remove(&next.name), Outcome::Applied(()));
    assert_eq!(archive.remove(&next.name), Outcome::Applied(()));
    assert_eq!(files_of(root.path()), [bundle.name.as_str()]);
}

#[test]
fn what_cannot_be_written_is_refused_with_a_code_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let archive = DiskArchive::at(root.path());
    let exact = || spec(all_formats(), CsvProfile::Exact);
    let refused = |outcome| match outcome {
        Outcome::Refused(Refusal { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(archive.write(exact(), &mut |_| Ok(()))), "no_items");
    let items = some_items();
    let mut twice =
        |sink: &mut dyn ItemSink| items.each().chain(items.each()).try_for_each(|item| sink.add(&item, &item.line()));
    assert_eq!(refused(archive.write(exact(), &mut twice)), "duplicate_item");
    assert_eq!(refused(archive.write(exact(), &mut |_| Err(ArchiveError::Items { code: "gone" }))), "gone");
    let mailbox = layout(Kind::Mailbox, &[]);
    let none = Items::default().with(&mailbox, &[]);
    let mut fill = |sink: &mut dyn ItemSink| none.each().try_for_each(|item| sink.add(&item, &item.line()));
    assert_eq!(refused(archive.write(exact(), &mut fill)), "not_exportable");
    assert_eq!(files_of(root.path()).len(), 0);
    let nowhere = DiskArchive::at(&root.path().join("nowhere"));
    assert_eq!(refused(nowhere.write(exact(), &mut |_| Ok(()))), "no_exports_directory");

    for (number, code) in [(28, "no_space"), (13, "permission_denied"), (30, "read_only_file_system"), (5, "io_error")]
    {
        let error = ArchiveError::Io { doing: "write", source: io::Error::from_raw_os_error(number) };
        assert_eq!(error.refusal().code, code);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_changed_byte_of_any_file_is_found(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let items = some_items();
        let written = Written::of(&items, all_formats(), CsvProfile::SpreadsheetSafe);
        let files = files_of(&written.directory());
        let path = written.directory().join(&files[file.index(files.len())]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&path, bytes).unwrap();
        prop_assert!(written.verify(items.expected()).is_err());
    }

    #[test]
    fn cells_come_back_from_csv_in_both_profiles(
        cells in prop::collection::vec(prop::option::of(prop_oneof![any::<String>(), "[=+@;,'\"a\t\r\n-]{0,8}"]), 2)
    ) {
        let layout = layout(Kind::Task, &[("Subject", "subject", FieldType::Text), ("=More", "custom.More", FieldType::Text)]);
        let items = Items::default().with(&layout, &cells.iter().map(Option::as_deref).collect::<Vec<_>>());
        for profile in [CsvProfile::Exact, CsvProfile::SpreadsheetSafe] {
            let written = Written::of(&items, [ExportFormat::Csv].into(), profile);
            prop_assert!(written.verify(items.expected()).is_ok());
            let plain = |cell: &Option<String>| match profile {
                CsvProfile::Exact => cell.clone(),
                CsvProfile::SpreadsheetSafe => cell.as_deref().map(|cell| spreadsheet_plain(cell).into_owned()),
            };
            let rows: Vec<Vec<_>> = written.csv("Tasks").iter().map(|row| row.iter().map(plain).collect()).collect();
            let column = |name: &str| rows[0].iter().position(|cell| cell.as_deref() == Some(name)).unwrap();
            prop_assert_eq!(&rows[1][column("Subject")], &cells[0]);
            prop_assert_eq!(&rows[1][column("=More")], &cells[1]);
        }
    }

    #[test]
    fn any_manifest_on_disk_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let root = tempfile::tempdir().unwrap();
        let name: BundleName = "a_20260301T1000001234".parse().unwrap();
        fs::create_dir(root.path().join(name.as_str())).unwrap();
        fs::write(root.path().join(name.as_str()).join(MANIFEST_FILE), bytes).unwrap();
        prop_assert!(read_manifest(root.path(), &name).is_err());
        prop_assert_eq!(DiskArchive::at(root.path()).probe(Digest::of(b"")).unwrap(), Probe::Absent);
    }
}
