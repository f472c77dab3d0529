//! A delimited file through a mapping: rows fit their layout and name their lines; after a row that was lost there is no snapshot.
#![no_main]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use retention_core::record::Kind;
use retention_fuzz::{Input, assert_plain, scratch};
use retentiond::connector::change::{Change, Feed as _};
use retentiond::connector::drop::claimed::Limits;
use retentiond::connector::drop::csv_file::CsvFeed;
use retentiond::connector::drop::mapping::Mapping;

const MAPPINGS: &[&str] = &[
    "schema = 1\nkind = \"contact\"\nfiles = [\"*\"]\ncontent = \"snapshot\"\nid = [\"Id\"]\n[mailbox]\n\
     constant = \"Ada@Contoso.com\"\n[[column]]\nname = \"Name\"\nfield = \"display_name\"\n",
    "schema = 1\nkind = \"deal\"\nfiles = [\"*\"]\ncontent = \"delta\"\nid = [\"A\", \"B\"]\nencoding = \"windows-1250\"\n\
     decimal = \"comma\"\nzone = \"Europe/Prague\"\nunmapped = \"ignore\"\n[mailbox]\ncolumn = \"M\"\n[visibility]\n\
     column = \"V\"\nshared = [\"ano\"]\nprivate = [\"ne\"]\n[deleted]\ncolumn = \"D\"\nvalues = [\"x\"]\n[[column]]\n\
     name = \"C\"\nfield = \"amount\"\n[[date]]\ncolumn = \"K\"\nrole = \"contract_end\"\nformat = \"czech\"\n\
     [[date]]\ncolumn = \"E\"\nrole = \"event:audit\"\nformat = \"%d.%m.%Y\"\n[[link]]\ncolumn = \"F\"\n\
     kind = \"company\"\nrelation = \"associated\"\nseparator = \"|\"\n",
    "schema = 1\nkind = \"activity\"\nfiles = [\"*\"]\ncontent = \"snapshot\"\nid = [\"Id\"]\nencoding = \"utf-16le\"\n\
     unmapped = \"error\"\n[[date]]\ncolumn = \"T\"\nrole = \"occurred\"\n[[link]]\ncolumn = \"L\"\nkind = \"contact\"\n\
     relation = \"about\"\n",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let mapping = Mapping::parse(input.one_of(MAPPINGS)).expect("a mapping");
    let path = scratch().join("dropped.csv");
    std::fs::write(&path, input.0).expect("a scratch file");
    let limits = Limits { row_bytes_max: 1000, columns_max: 50, ..Limits::default() };
    let (mut width, mut rows, mut rejected, mut defects, mut line) = (None, 0, 0, 0, 1);
    let mut told_a_snapshot = false;
    let end = CsvFeed { source: "crm", mapping: &mapping, limits: &limits, path: &path }.read(&mut |change| {
        assert!(!told_a_snapshot || matches!(change, Change::SnapshotOf { .. }), "something behind a snapshot");
        match change {
            Change::Layout(layout) => {
                assert_eq!(width.replace(layout.columns.len()), None, "two layouts");
                let fields: BTreeSet<&str> = layout.columns.iter().map(|column| column.field.as_str()).collect();
                assert_eq!(fields.len(), layout.columns.len(), "two columns fill one field");
            }
            Change::Row(row) => {
                assert_eq!(Some(row.cells.len()), width);
                assert!(row.cells.is_consistent() && !row.external_id.is_empty() && row.place.line > line);
                assert!(row.dates.is_sorted_by(|a, b| a.0 < b.0), "a date twice");
                line = row.place.line;
                rows += 1;
            }
            Change::Departed(gone) => {
                assert!(gone.kind == Kind::Deal && !gone.external_id.is_empty() && gone.place.line > line);
                line = gone.place.line;
                rows += 1;
            }
            Change::Rejected(rejection) => {
                assert_plain(&rejection.to_string());
                assert!(rejection.place.line > line);
                line = rejection.place.line;
                rejected += 1;
            }
            Change::Defect(_, place) => {
                assert!(place.line > line || place.line == 0, "what is odd is told before its row");
                defects += 1;
            }
            Change::SnapshotOf { .. } => {
                assert_eq!(rejected, 0);
                told_a_snapshot = true;
            }
        }
        ControlFlow::Continue(())
    });
    match end {
        Ok(summary) => assert_eq!((summary.rows, summary.rejected, summary.defects), (rows, rejected, defects)),
        Err(error) => {
            assert!(!told_a_snapshot);
            assert_plain(&error.to_string());
        }
    }
});
