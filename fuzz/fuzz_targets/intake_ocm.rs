//! The files of an Outlook Customer Manager export: rows fit the layout that was told before them, whatever stands in the files.
#![no_main]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use retention_fuzz::{Input, assert_plain, scratch};
use retentiond::connector::change::{Change, Feed as _};
use retentiond::connector::drop::claimed::Limits;
use retentiond::connector::drop::ocm::{DirectoryName, OcmFeed, OcmSpec};

const NAME: &str = "ada@contoso.com_20200302T0915301234";
const FILES: &[&str] = &[
    "Contacts.csv",
    "Companies.csv",
    "Deals.csv",
    "Tasks.csv",
    "Posts.csv",
    "Activities.csv",
    "ContactSchema.csv",
    "CompanySchema.csv",
    "DealSchema.csv",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let spec = OcmSpec { zone: (input.byte() % 2 == 1).then(|| TimeZone::get("Europe/Prague").expect("a zone")) };
    let path = scratch().join(NAME);
    let _removed = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("a scratch directory");
    // A file is its number, its length, and what stands in it; the last one has what is left.
    while !input.0.is_empty() {
        let (name, length) = (input.one_of(FILES), usize::from(input.number()));
        std::fs::write(path.join(name), input.take(length)).expect("a scratch file");
    }
    let limits = Limits { row_bytes_max: 4000, columns_max: 100, ..Limits::default() };
    let (mut widths, mut rows, mut rejected) = (Vec::new(), 0, 0);
    let name = DirectoryName::parse(NAME).expect("a name");
    let end = OcmFeed::over("ocm", &spec, &limits, &path, &name).read(&mut |change| {
        match change {
            Change::Layout(layout) => {
                let fields: BTreeSet<&str> = layout.columns.iter().map(|column| column.field.as_str()).collect();
                assert_eq!(fields.len(), layout.columns.len(), "two columns fill one field");
                widths.push(layout.columns.len());
            }
            Change::Row(row) => {
                assert_eq!(Some(&row.cells.len()), widths.get(row.layout));
                assert!(row.cells.is_consistent() && !row.external_id.is_empty());
                assert!(row.dates.is_sorted_by(|a, b| a.0 < b.0), "a date twice");
                rows += 1;
            }
            Change::Departed(_) => rows += 1,
            Change::Rejected(rejection) => {
                assert_plain(&rejection.to_string());
                rejected += 1;
            }
            Change::Defect(..) | Change::SnapshotOf { .. } => {}
        }
        ControlFlow::Continue(())
    });
    match end {
        Ok(summary) => assert_eq!((summary.rows, summary.rejected), (rows, rejected)),
        Err(error) => assert_plain(&error.to_string()),
    }
});
