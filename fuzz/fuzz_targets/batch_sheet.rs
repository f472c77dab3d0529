//! A migration batch: rows know their lines, and what is written from them is read as the same rows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::batch::sheet::read;
use retention_core::batch::write::file_of;
use retention_core::batch::{COLUMNS_MAX, Named, Settings, check};
use retention_core::text::{Delimiter, Encoding};
use retention_fuzz::{Input, assert_plain};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let encoding = input.one_of(&[
        None,
        Some(Encoding::Utf8),
        Some(Encoding::Utf16Le),
        Some(Encoding::Utf16Be),
        Some(Encoding::Windows1250),
        Some(Encoding::Windows1252),
    ]);
    let delimiter = input.one_of(&[None, Some(Delimiter::Comma), Some(Delimiter::Semicolon), Some(Delimiter::Tab)]);
    let sheet = match read(input.0, Named { encoding, delimiter }) {
        Ok(sheet) => sheet,
        Err(error) => return assert_plain(&format!("{error}; {}", error.hint())),
    };
    assert!(!sheet.header.is_empty() && sheet.header.len() <= COLUMNS_MAX);
    assert!(
        sheet.rows.is_sorted_by(|a, b| a.line < b.line) && sheet.rows.iter().all(|row| row.line > sheet.header_line)
    );
    assert!(sheet.blank_lines.is_sorted() && sheet.faults.is_sorted_by(|a, b| a.0 < b.0));
    let checked = check(&[("fuzzed.csv", &sheet)], &Settings::default());
    for one in &checked {
        assert!(one.bad_rows.iter().all(|row| *row < sheet.rows.len()));
        for problem in &one.problems {
            let _shown = problem.rule.to_string();
            assert!(problem.row.is_none_or(|row| sheet.rows.get(row).map(|row| row.line) == problem.line));
        }
    }
    let written = file_of(&sheet.header, sheet.rows.iter());
    let named = Named { encoding: Some(Encoding::Utf8), delimiter: Some(Delimiter::Comma) };
    let again = read(&written, named).expect("what was written is read");
    assert_eq!(again.header, sheet.header);
    assert!(again.faults.is_empty());
    assert!(again.rows.iter().map(|row| &row.cells).eq(sheet.rows.iter().map(|row| &row.cells)));
});
