//! What a conversion changes, and what it leaves.

use super::*;

#[test]
fn a_file_of_excel_becomes_one_that_a_migration_takes_and_what_changed_is_told() {
    let (bytes, ..) = encoding_rs::WINDOWS_1250
        .encode("sep=;\r\nEmail Address;UserName;password;;\r\nů@b.cz;ě*adm;x,\"ř;;\r\n;;;;\r\n\r\nc@b.cz;c;'=1;;\r\n");
    let named = Named { encoding: Some(Encoding::Windows1250), delimiter: None };
    let converted = convert(&sheet::read(&bytes, named).unwrap(), None).unwrap();
    let expected = "EmailAddress,UserName,Password\r\nů@b.cz,ě*adm,\"x,\"\"ř\"\r\nc@b.cz,c,'=1\r\n";
    assert_eq!(String::from_utf8_lossy(&converted.bytes), expected);
    let changes = [
        Change::Encoding("windows-1250"),
        Change::SeparatorLine,
        Change::Delimiter("semicolons"),
        Change::BlankLines(2),
        Change::EmptyColumns(2),
        Change::ColumnName { number: 1, name: "EmailAddress" },
        Change::ColumnName { number: 3, name: "Password" },
    ];
    assert_eq!(converted.changes, changes);
}

#[test]
fn what_could_only_be_guessed_is_refused_all_places_at_once() {
    let text = "EmailAddress;UserName;Password;\na@b.cz;a\nb@b.cz;b;x;y\n\"\n";
    let errors = convert(&sheet(text.as_bytes()), None).unwrap_err();
    let expected = [
        ConvertError::NotARow { line: 4, fault: TableFault::QuoteUnclosed },
        ConvertError::Ragged { line: 2, expected: 4, found: 2 },
        ConvertError::ValueUnnamed { line: 3, column: 4 },
    ];
    assert_eq!(errors, expected);
    assert_eq!(super::super::convert::refusals(&sheet(text.as_bytes())), expected);
    let places: Vec<_> = errors.iter().map(ConvertError::place).collect();
    assert_eq!(places, [(Some(4), None), (Some(2), None), (Some(3), Some(4))]);
    assert_eq!(ConvertError::HeaderUnknown.place(), (None, None));
    assert_eq!(convert(&sheet(b"a;b\n1;2\n"), None).unwrap_err(), [ConvertError::HeaderUnknown]);
}

#[test]
fn the_spelling_of_user_name_depends_on_the_kind() {
    let header = |kind| {
        let converted = convert(&sheet(b"EmailAddress,username\na@b.cz,a@c.cz\n"), kind).unwrap();
        String::from_utf8_lossy(&converted.bytes).lines().next().unwrap().to_owned()
    };
    assert_eq!(header(None), "EmailAddress,username");
    assert_eq!(header(Some(MigrationKind::Google)), "EmailAddress,Username");
    assert_eq!(header(Some(MigrationKind::Imap)), "EmailAddress,UserName");
    for kind in [MigrationKind::Google, MigrationKind::Imap] {
        let told = rules(kind, "EmailAddress,username,Password\na@b.cz,a@c.cz,x\n");
        let hint = told.iter().find(|rule| matches!(rule, Rule::ColumnSpelling(_))).and_then(Rule::hint).unwrap();
        assert!(hint.contains(&format!("--kind {kind} ")), "the hint does what the check asks for: {hint}");
    }
}
