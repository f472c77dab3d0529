//! The rules of every kind.

use super::*;

#[test]
fn the_first_row_names_the_columns_in_any_order() {
    assert_eq!(rules(MigrationKind::Imap, "Password,EmailAddress,UserName\nx,a@b.cz,a\n"), []);
    assert_eq!(rules(MigrationKind::Imap, IMAP), [Rule::NoRows]);
    assert_eq!(sheet::read(b"", Named::default()), Err(SheetError::Empty));
    assert_eq!(sheet::read(b" \r\n\r\n", Named::default()), Err(SheetError::Empty));
    assert_eq!(sheet::read(b",,\na,b,c\n", Named::default()), Err(SheetError::NoHeader));
}

#[test]
fn names_are_spelt_exactly_and_another_spelling_is_told() {
    for wrong in ["Email Address", "emailaddress", "EMAILADDRESS", "E-mailAddress", "Email_Address"] {
        let told = places(MigrationKind::Onboarding, &format!("{wrong}\na@b.cz\n"));
        assert_eq!(told, [(Some(1), Some(1), Rule::ColumnSpelling("EmailAddress"))], "{wrong}");
    }
    let told = places(MigrationKind::Imap, "EmailAdress,UserName,Pasword\na@b.cz,a,x\n");
    let near = |column, name| (Some(1), Some(column), Rule::ColumnNear(name));
    assert_eq!(told, [near(1, "EmailAddress"), near(3, "Password")]);
    assert_eq!(rules(MigrationKind::Google, "EmailAddress,UserName\na@b.cz,\n"), [Rule::ColumnSpelling("Username")]);
}

#[test]
fn a_required_column_must_be_there_once() {
    let told = rules(MigrationKind::Imap, "EmailAddress,UserName\na@b.cz,a\n");
    assert_eq!(told, [Rule::ColumnMissing("Password")]);
    let told = rules(MigrationKind::Staged, "EmailAddress,EmailAddress\na@b.cz,a@b.cz\n");
    assert_eq!(told, [Rule::ColumnRepeated("EmailAddress")]);
}

#[test]
fn unknown_columns_fail_unless_they_are_allowed() {
    let text = "EmailAddress,Department,\na@b.cz,Sales,\n";
    let told = places(MigrationKind::Onboarding, text);
    let expected = [(Some(1), Some(2), Rule::ColumnUnknown), (Some(1), Some(3), Rule::ColumnUnnamed)];
    assert_eq!(told, expected);
    let settings = Settings {
        kind: Some(MigrationKind::Onboarding),
        unknown_columns: UnknownColumns::Ignored,
        ..Settings::default()
    };
    let sheet = sheet(b"EmailAddress,Department\na@b.cz,Sales\n");
    assert!(check(&[("a.csv", &sheet)], &settings)[0].is_usable());
}

#[test]
fn every_row_has_as_many_cells_as_the_header_and_keeps_the_comma_of_an_empty_one() {
    let text = format!("{IMAP}a@b.cz,a\r\nb@b.cz,b,x,y\r\nc@b.cz,c,x\r\nd@b.cz,d");
    let told = places(MigrationKind::Imap, &text);
    let expected = [
        (Some(2), Some(3), Rule::Ragged { expected: 3, found: 2 }),
        (Some(3), Some(4), Rule::Ragged { expected: 3, found: 4 }),
        (Some(5), Some(3), Rule::CutOff { expected: 3, found: 2 }),
    ];
    assert_eq!(told, expected);
    assert_eq!(rules(MigrationKind::Staged, "EmailAddress,Password,ForceChangePassword\na@b.cz,,\n"), []);
}

#[test]
fn only_the_comma_separates() {
    let told = rules(MigrationKind::Imap, "EmailAddress;UserName;Password\na@b.cz;a;x\n");
    assert_eq!(told, [Rule::NotComma("semicolons")]);
    let told = rules(MigrationKind::Imap, "sep=\t\nEmailAddress\tUserName\tPassword\na@b.cz\ta\tx\n");
    assert_eq!(told, [Rule::SeparatorLine, Rule::NotComma("tabulators")]);
    assert_eq!(told.iter().filter(|rule| rule.is_mended_by_convert()).count(), 2);
}

#[test]
fn letters_outside_ascii_need_unicode() {
    let windows = b"EmailAddress,UserName,Password\na@b.cz,\x9eena,x\n";
    let settings = Settings { kind: Some(MigrationKind::Imap), ..Settings::default() };
    let told = |bytes: &[u8]| {
        let problems = check(&[("a.csv", &sheet(bytes))], &settings).remove(0).problems;
        problems.into_iter().map(|p| p.rule).filter(|rule| rule.weight() != Weight::Note).collect::<Vec<_>>()
    };
    // 0x9E is ž in both code pages, so nothing is guessed.
    assert_eq!(told(windows), [Rule::NotUnicode("windows-1250")]);
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain("EmailAddress,UserName,Password\na@b.cz,a,x\n".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(told(&wide), [Rule::Utf16("utf-16le")]);
    assert_eq!(told("\u{feff}EmailAddress,UserName,Password\na@b.cz,ř,x\n".as_bytes()), [Rule::Mark]);
    assert_eq!(told("EmailAddress,UserName,Password\na@b.cz,ř,x\n".as_bytes()), []);
    let doubtful = b"EmailAddress,UserName,Password\na@b.cz,a,x\nb@b.cz,\xecva,x\n";
    assert_eq!(sheet::read(doubtful, Named::default()), Err(SheetError::EncodingDoubtful { line: 3 }));
    let named = Named { encoding: Some(Encoding::Windows1250), delimiter: None };
    assert_eq!(sheet::read(doubtful, named).unwrap().rows[1].cell(1), "\u{11b}va");
}

#[test]
fn what_is_no_text_in_any_code_page_is_called_what_it_is() {
    let read = |bytes: &[u8]| sheet::read(bytes, Named::default()).unwrap_err();
    assert_eq!(read(b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00"), SheetError::Workbook);
    assert_eq!(read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00"), SheetError::Workbook);
    let text = "EmailAddress,UserName,Password\na@b.cz,a,x\n";
    for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let wide: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
        assert_eq!(read(&wide), SheetError::NoMark);
    }
    assert!(SheetError::NoMark.hint().contains("utf-16le"));
}

#[test]
fn a_line_break_in_a_name_is_an_error() {
    let told = places(MigrationKind::Imap, &format!("{IMAP}a@b.cz,\"a\nb\",x\n"));
    assert_eq!(told, [(Some(2), Some(2), Rule::ControlCharacter { attribute: "UserName" })]);
}

#[test]
fn a_password_that_no_login_can_send_is_refused_and_any_other_is_kept() {
    for bad in ["x\ny", "x\r\ny", "x\ry", "\n"] {
        let told = places(MigrationKind::Imap, &format!("{IMAP}a@b.cz,a,\"{bad}\"\n"));
        assert!(told.contains(&(Some(2), Some(3), Rule::PasswordLines)), "{bad:?}: {told:?}");
        assert!(!told.iter().any(|(.., rule)| *rule == Rule::PasswordControl), "{bad:?}: {told:?}");
    }
    let new = "EmailAddress,Password,ForceChangePassword\na@b.cz,\"long\nenough\",False\n";
    assert_eq!(rules(MigrationKind::Staged, new), [Rule::PasswordLines]);
    let kept = format!("{IMAP}a@b.cz,a,\"x\ty\u{1b}\"\n");
    assert_eq!(rules(MigrationKind::Imap, &kept), [Rule::PasswordControl]);
}

#[test]
fn a_warning_that_many_rows_share_is_told_once_and_an_error_of_each_row() {
    let many: String = (0..500).map(|n| format!("\\F{n},g@b.cz\n")).collect();
    let told = places(MigrationKind::PublicFolderGroups, &format!("FolderPath,TargetGroupMailbox\n{many}"));
    let shared = Rule::Many { rule: Box::new(Rule::GroupRepeated(2)), rows: 499, lines: vec![3, 4, 5, 6, 7] };
    assert_eq!(told, [(Some(3), Some(2), shared.clone())]);
    assert_eq!(shared.weight(), Weight::Warning);
    assert!(shared.to_string().ends_with("; so in 499 rows: lines 3, 4, 5, 6, 7 and more"), "{shared}");
    let two = format!("{IMAP}a@b.cz,a, x\nb@b.cz,b,=x\nc@b.cz,c,x \n");
    let told = places(MigrationKind::Imap, &two);
    let spaces = Rule::Many { rule: Box::new(Rule::PasswordSpace), rows: 2, lines: vec![2, 4] };
    assert!(spaces.to_string().ends_with("; so in 2 rows: lines 2, 4"), "{spaces}");
    assert_eq!(told, [(Some(2), Some(3), spaces), (Some(3), Some(3), Rule::Formula("Password"))]);
    let empty = format!("{IMAP}a@b.cz,a,\nb@b.cz,b,\n");
    assert_eq!(rules(MigrationKind::Imap, &empty), [Rule::Empty("Password"), Rule::Empty("Password")]);
}

#[test]
fn a_suggested_command_names_file_kind_and_reading() {
    let words = rule::Words {
        file: "'my users.csv'".to_owned(),
        reading: " --delimiter tab".to_owned(),
        rules: " --allow-unknown-columns".to_owned(),
        kind: Some(MigrationKind::Imap),
        converted: "'my users-converted.csv'".to_owned(),
        pieces: "parts".to_owned(),
        needs_mending_first: false,
    };
    let convert =
        "retentionctl batch convert 'my users.csv' --delimiter tab --kind imap --into 'my users-converted.csv'";
    assert_eq!(Rule::NotComma("tabulators").hint_in(&words).unwrap(), convert);
    let google = Rule::ColumnSpelling("Username").hint_in(&words).unwrap();
    assert!(google.contains(" --kind google "), "{google}");
    let large = Rule::TooManyRows { kind: MigrationKind::Staged, rows: 2_001, max: 2_000 };
    let split =
        "retentionctl batch split 'my users.csv' --delimiter tab --kind staged --allow-unknown-columns --into parts";
    assert_eq!(large.hint_in(&words).unwrap(), split);
    let refused = rule::Words { needs_mending_first: true, ..words };
    let said = Rule::Mark.hint_in(&refused).unwrap();
    assert!(said.starts_with("first mend the header") && said.ends_with(convert), "{said}");
    assert_eq!(Rule::Mark.hint().unwrap(), "retentionctl batch convert FILE --into NEW");
}

#[test]
fn blank_lines_are_left_out_with_a_warning() {
    let text = format!("\r\n{IMAP}\r\na@b.cz,a,x\r\n,,\r\n\r\nb@b.cz,b,x\r\n\r\n");
    let told = places(MigrationKind::Imap, &text);
    assert_eq!(told, [(Some(1), None, Rule::BlankLines(4))], "a last line end is no blank line of its own");
    let blank = sheet(text.as_bytes()).blank_lines;
    assert_eq!(blank, [1, 3, 5, 6]);
}

#[test]
fn quotes_are_read_and_a_broken_one_spoils_its_row_only() {
    let text = format!("{IMAP}a@b.cz,a,\"x,\"\"y\"\r\nb@b.cz,b,\"x\"y\r\nc@b.cz,c,x\r\n");
    assert_eq!(sheet(text.as_bytes()).rows[0].cell(2), "x,\"y");
    let told = places(MigrationKind::Imap, &text);
    assert_eq!(told, [(Some(3), None, Rule::NotARow(TableFault::QuoteMisplaced))]);
    assert!(!checked(Some(MigrationKind::Imap), &text).is_refused_whole());
}

#[test]
fn the_name_of_the_file_ends_with_csv_or_txt() {
    let sheet = sheet(b"EmailAddress\na@b.cz\n");
    let settings = Settings { kind: Some(MigrationKind::Onboarding), ..Settings::default() };
    for (name, expected) in [("a.csv", 0), ("A.TXT", 0), ("a.xls", 1), ("csv", 1)] {
        let problems = check(&[(name, &sheet)], &settings).remove(0).problems;
        assert_eq!(problems.iter().filter(|problem| problem.rule == Rule::FileName).count(), expected, "{name}");
    }
}

#[test]
fn an_address_is_valid_smtp_and_never_empty() {
    let kind = MigrationKind::Onboarding;
    let of = |address: &str| rules(kind, &format!("EmailAddress,MailboxType\n{address},PrimaryOnly\n"));
    let not = Rule::NotAnAddress { attribute: "EmailAddress" };
    for good in ["a@b.cz", "terry.o'adams+x@sub.contoso-x.com", "_a@1.de"] {
        assert_eq!(of(good), [], "{good}");
    }
    for bad in [
        "a",
        "@b.cz",
        "a@",
        "a@b",
        "a.@b.cz",
        ".a@b.cz",
        "a..b@b.cz",
        "a b@b.cz",
        "a@b..cz",
        "a@-b.cz",
        "\u{e1}@b.cz",
        "a@b@c.cz",
        "a@b_c.cz",
    ] {
        assert!(of(bad).contains(&not), "{bad}");
    }
    assert!(of(&format!("{}@b.cz", "a".repeat(65))).contains(&not));
    assert_eq!(of(" a@b.cz"), [Rule::SpaceAround { attribute: "EmailAddress" }]);
    assert_eq!(of(""), [Rule::Empty("EmailAddress")]);
}

#[test]
fn the_same_mailbox_twice_is_refused_in_one_file_and_across_files_whatever_the_case() {
    let told = places(MigrationKind::Onboarding, "EmailAddress\na@b.cz\nc@b.cz\nA@B.cz\na@b.cz\n");
    let same = |line, other| (Some(line), Some(1), Rule::Repeated { key: "EmailAddress", line: other });
    assert_eq!(told, [same(2, 4), same(4, 2), same(5, 2)]);
    let (one, two) = (sheet(b"EmailAddress\na@b.cz\n"), sheet(b"EmailAddress\nc@b.cz\nA@b.cz\n"));
    let settings = Settings { kind: Some(MigrationKind::Staged), ..Settings::default() };
    let both = check(&[("one.csv", &one), ("two.csv", &two)], &settings);
    assert_eq!((both[0].bad_rows.len(), both[1].bad_rows.len()), (1, 1));
    let elsewhere = Rule::RepeatedElsewhere { key: "EmailAddress", file: "one.csv".to_owned(), line: 2 };
    assert!(both[1].problems.iter().any(|problem| problem.rule == elsewhere && problem.line == Some(3)));
}

#[test]
fn a_value_of_the_batch_stands_in_for_a_blank_cell_and_for_no_other() {
    let of = |text: &str, given: &[&str]| {
        let settings = Settings {
            kind: Some(MigrationKind::Offboarding),
            of_batch: given.iter().map(|name| (*name).to_owned()).collect(),
            ..Settings::default()
        };
        let problems = check(&[("a.csv", &sheet(text.as_bytes()))], &settings).remove(0).problems;
        problems.into_iter().map(|p| p.rule).filter(|rule| rule.weight() != Weight::Note).collect::<Vec<_>>()
    };
    let column = "EmailAddress,TargetDatabase\na@b.cz,\nc@b.cz,DB2\n";
    assert_eq!(of(column, &[]), [Rule::EmptyOfBatch("TargetDatabase")]);
    assert_eq!(of(column, &["TargetDatabase"]), []);
    assert_eq!(of("EmailAddress\na@b.cz\n", &[]), [Rule::MissingOfBatch("TargetDatabase")]);
    assert_eq!(of("EmailAddress\na@b.cz\n", &["TargetDatabase"]), []);
    assert_eq!(of("EmailAddress\n\"\"\n", &["TargetDatabase", "EmailAddress"]), [Rule::NoRows, Rule::BlankLines(1)]);
}

#[test]
fn no_row_is_called_good_of_a_file_that_is_of_no_kind() {
    let notes = |text: &str| {
        let problems = checked(None, text).problems.into_iter().map(|problem| problem.rule);
        problems.filter(|rule| matches!(rule, Rule::Rows { .. })).collect::<Vec<_>>()
    };
    assert_eq!(notes("# the second wave\r\nEmailAddress\r\na@b.cz\r\n"), []);
    assert_eq!(notes("EmailAddress,UserName,Password\r\na@b.cz,a,x\r\n"), [Rule::Rows { rows: 1, good: 1 }]);
}
