//! One test for each rule of the documentation, by its name, and properties that hold for any bytes.

use proptest::prelude::*;

use super::command::{CommandError, CommandSettings, new_migration_batch};
use super::convert::{Change, ConvertError, convert};
use super::login::{LoginFault, NameForm, recognise};
use super::make::{Admin, Mailbox, MakeError, Origin, make_addresses, make_imap};
use super::split::{Group, Limits, SplitError, split};
use super::write::{errors_of, file_of, push_row};
use super::*;
use crate::table::TableFault;
use crate::text::{Delimiter, Encoding};

const IMAP: &str = "EmailAddress,UserName,Password\r\n";

fn sheet(bytes: &[u8]) -> Sheet {
    sheet::read(bytes, Named::default()).unwrap()
}

fn checked(kind: Option<MigrationKind>, text: &str) -> Checked {
    let settings = Settings { kind, ..Settings::default() };
    check(&[("users.csv", &sheet(text.as_bytes()))], &settings).remove(0)
}

/// The findings that are no notes, without their places.
fn rules(kind: MigrationKind, text: &str) -> Vec<Rule> {
    let problems = checked(Some(kind), text).problems.into_iter();
    problems.map(|problem| problem.rule).filter(|rule| rule.weight() != Weight::Note).collect()
}

/// Where the findings that are no notes stand, and what they are.
fn places(kind: MigrationKind, text: &str) -> Vec<(Option<u64>, Option<usize>, Rule)> {
    let problems = checked(Some(kind), text).problems.into_iter();
    let told = problems.filter(|problem| problem.rule.weight() != Weight::Note);
    told.map(|problem| (problem.line, problem.column, problem.rule)).collect()
}

mod rules_of_all_kinds;

mod rules_of_each_kind;

mod logins {
    use super::*;

    fn form(name: &str, root: &str) -> Result<NameForm, LoginFault> {
        recognise(name, root).map(|login| login.form)
    }

    #[test]
    fn the_four_forms_of_the_guides_are_recognised_and_taken_apart() {
        let parts = |name, root| {
            let login = recognise(name, root).unwrap();
            (login.form, login.admin, login.user, login.domain)
        };
        assert_eq!(
            parts("contoso-students/mailadmin/terry.adams", ""),
            (NameForm::Exchange, Some("mailadmin"), "terry.adams", Some("contoso-students"))
        );
        assert_eq!(parts("terry.adams*mailadmin", ""), (NameForm::Dovecot, Some("mailadmin"), "terry.adams", None));
        assert_eq!(
            parts("#terry.adams@contoso-students.edu#mailadmin#", ""),
            (NameForm::Mirapoint, Some("mailadmin"), "terry.adams@contoso-students.edu", Some("contoso-students.edu"))
        );
        assert_eq!(
            parts("mailadmin", "/users/terry.adams"),
            (NameForm::Courier, Some("mailadmin"), "/users/terry.adams", None)
        );
        assert_eq!(parts("CONTOSO\\terry", ""), (NameForm::Domain, None, "terry", Some("CONTOSO")));
        assert_eq!(parts("terry", ""), (NameForm::Own, None, "terry", None));
    }

    #[test]
    fn what_only_resembles_a_form_is_told() {
        for name in ["a/b", "a//b", "a/b/c/d", "/a/b"] {
            assert_eq!(form(name, ""), Err(LoginFault::Exchange), "{name}");
        }
        for name in ["*a", "a*", "a*b*c"] {
            assert_eq!(form(name, ""), Err(LoginFault::Dovecot), "{name}");
        }
        for name in ["#a@b#c", "#a#c#", "#a@b##", "#a@b#c#d#", "#@b#c#"] {
            assert_eq!(form(name, ""), Err(LoginFault::Mirapoint), "{name}");
        }
        for name in ["\\a", "a\\", "a\\b\\c"] {
            assert_eq!(form(name, ""), Err(LoginFault::Domain), "{name}");
        }
    }

    #[test]
    fn mixed_forms_and_administrators_and_repeated_sources_are_warned_of() {
        let told = rules(MigrationKind::Imap, &format!("{IMAP}a@b.cz,a*adm,x\nb@b.cz,d/adm2/b,x\nc@b.cz,a*adm,x\n"));
        assert_eq!(told, [Rule::FormsMixed(2), Rule::AdminsMixed(2), Rule::SourceRepeated(2)]);
        let text = "EmailAddress,UserName,Password,UserRoot\na@b.cz,adm,x,/users/a\nb@b.cz,adm,x,users/b\n";
        assert_eq!(rules(MigrationKind::Imap, text), [Rule::UserRootForm]);
        let notes = checked(None, text).problems;
        assert!(notes.iter().any(|p| p.rule == Rule::LoginForms { form: NameForm::Courier, rows: 2 }));
    }
}

mod detection {
    use super::*;

    fn detected(header: &str) -> Detection {
        checked(None, &format!("{header}\n{}\n", "x,".repeat(header.matches(',').count()))).detection
    }

    #[test]
    fn a_header_that_fits_one_kind_decides_and_one_that_fits_more_is_asked_about() {
        let certain = |header: &str| match detected(header) {
            Detection::Certain(kind) => kind,
            other => panic!("{header}: {other:?}"),
        };
        assert_eq!(certain("EmailAddress,UserName,Password"), MigrationKind::Imap);
        assert_eq!(certain("EmailAddress,UserName,Password,UserRoot"), MigrationKind::Imap);
        assert_eq!(certain("EmailAddress,Password,ForceChangePassword"), MigrationKind::Staged);
        assert_eq!(certain("EmailAddress,Username"), MigrationKind::Google);
        assert_eq!(certain("FolderPath,TargetMailbox"), MigrationKind::PublicFolders);
        assert_eq!(certain("FolderPath,TargetGroupMailbox"), MigrationKind::PublicFolderGroups);
        let Detection::Doubtful(kinds) = detected("EmailAddress") else { panic!() };
        assert!(kinds.contains(&MigrationKind::Staged) && kinds.contains(&MigrationKind::Onboarding), "{kinds:?}");
        let Detection::Doubtful(kinds) = detected("EmailAddress,TargetDatabase") else { panic!() };
        assert_eq!(kinds, [MigrationKind::Offboarding, MigrationKind::CrossForest, MigrationKind::Local]);
        assert_eq!(detected("EmailAddress,UserName,Pasword"), Detection::Nearest(MigrationKind::Imap));
        assert_eq!(detected("ada@contoso.com,ada,Secret1"), Detection::Nothing);
        assert_eq!(
            checked(Some(MigrationKind::Local), "EmailAddress\na@b.cz\n").detection,
            Detection::Named(MigrationKind::Local)
        );
    }

    #[test]
    fn in_doubt_only_what_is_wrong_whichever_is_meant_is_told() {
        let told = checked(None, "EmailAddress\nada\n").problems;
        let rules: Vec<Rule> = told.into_iter().map(|problem| problem.rule).collect();
        assert!(
            matches!(rules.as_slice(), [Rule::Rows { .. }, Rule::KindDoubtful(_), Rule::NotAnAddress { .. }]),
            "{rules:?}"
        );
    }

    #[test]
    fn every_kind_has_a_name_that_reads_back_and_a_key_among_its_attributes() {
        for kind in MigrationKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert!(kind.attribute(kind.key()).is_some());
            let needed: Vec<String> =
                kind.attributes().iter().filter(|a| a.need != Need::Optional).map(|a| a.name.to_owned()).collect();
            let detection = detect::detect(&needed, None);
            let is_possible = match &detection {
                Detection::Certain(found) => *found == kind,
                Detection::Doubtful(kinds) => kinds.contains(&kind),
                Detection::Named(_) | Detection::Nearest(_) | Detection::Nothing => false,
            };
            assert!(is_possible, "{kind}: {detection:?}");
        }
        assert!("Staged".parse::<MigrationKind>().is_err());
    }
}

mod secrets {
    use super::*;

    const SECRET: &str = "Tr0ub4dor&3";

    #[test]
    fn no_finding_and_no_list_of_errors_holds_a_password_wherever_it_stands() {
        for text in [
            format!("{IMAP}ada,ada,{SECRET}\n"),
            format!("{IMAP}a@b.cz,{SECRET} ,\n"),
            format!("{SECRET},{SECRET}\n{SECRET}\n"),
            format!("EmailAddress,{SECRET}\na@b.cz,{SECRET},{SECRET}\n"),
            format!("{IMAP}a@b.cz,{SECRET}*,=\n{SECRET},{SECRET},{SECRET}\n{SECRET},{SECRET},{SECRET}\n"),
            format!("{IMAP}\"{SECRET}"),
        ] {
            let sheet = sheet(text.as_bytes());
            for kind in std::iter::once(None).chain(MigrationKind::ALL.map(Some)) {
                let checked = checked(kind, &text);
                for problem in &checked.problems {
                    let said = format!("{} {:?} {problem:?}", problem.rule, problem.rule.hint());
                    assert!(!said.contains(SECRET), "{said}");
                }
                assert!(!format!("{checked:?} {:?}", sheet.rows).contains(SECRET));
                let listed = String::from_utf8(errors_of(&sheet, "Password", &checked.problems)).unwrap();
                assert!(!listed.contains(SECRET), "{listed}");
            }
        }
    }

    #[test]
    fn what_a_spreadsheet_would_change_is_warned_of_and_kept() {
        let told = rules(MigrationKind::Imap, &format!("{IMAP}a@b.cz,a,=1+2\nb@b.cz,b, x\nc@b.cz,c,\"x\ty\"\n"));
        assert_eq!(told, [Rule::Formula("Password"), Rule::PasswordSpace, Rule::PasswordControl]);
        let converted = convert(&sheet(format!("{IMAP}a@b.cz,a,=1+2\n").as_bytes()), None).unwrap();
        assert_eq!(converted.bytes.as_slice(), format!("{IMAP}a@b.cz,a,=1+2\r\n").as_bytes());
    }

    #[test]
    fn the_list_of_errors_names_line_key_and_reason() {
        let text = format!("{IMAP}ada,a,x\nb@b.cz,b,x\nc@b.cz,c,\n\"");
        let checked = checked(Some(MigrationKind::Imap), &text);
        let listed = String::from_utf8(errors_of(&sheet(text.as_bytes()), "EmailAddress", &checked.problems)).unwrap();
        let lines: Vec<&str> = listed.split("\r\n").collect();
        assert_eq!(lines[0], "Line,EmailAddress,ErrorMessage");
        assert_eq!(lines[1], "2,ada,EmailAddress is not a valid SMTP address");
        assert_eq!(lines[2], "4,c@b.cz,Password is empty");
        assert!(lines[3].starts_with("5,,"), "{listed}");
    }
}

mod conversion;

mod splitting {
    use super::*;

    fn labels(group: Group, limits: Limits, text: &str) -> Vec<(String, u64)> {
        let pieces = split(&sheet(text.as_bytes()), group, limits, None).unwrap();
        pieces.into_iter().map(|piece| (piece.label, piece.rows)).collect()
    }

    const ALL: Limits = Limits { rows_max: u64::MAX, bytes_max: u64::MAX };

    #[test]
    fn rows_bytes_letters_and_values_split() {
        let text =
            "EmailAddress,Department\nbob@b.cz,Sales\nada@b.cz,IT\nAnn@b.cz,sales \n1@b.cz,\n_x@b.cz,R&D/\u{159}\n";
        let two = Limits { rows_max: 2, ..ALL };
        assert_eq!(labels(Group::None, two, text), [("01".to_owned(), 2), ("02".to_owned(), 2), ("03".to_owned(), 1)]);
        let letters = labels(Group::Letter(0), ALL, text);
        let expected = [("0-9", 1), ("A", 2), ("B", 1), ("other", 1)].map(|(label, rows)| (label.to_owned(), rows));
        assert_eq!(letters, expected);
        let values = labels(Group::Value(1), ALL, text);
        let expected = [("none", 1), ("it", 1), ("r-d", 1), ("sales", 2)].map(|(label, rows)| (label.to_owned(), rows));
        assert_eq!(values, expected);
        let both = labels(Group::Letter(0), Limits { rows_max: 1, ..ALL }, text);
        assert!(both.contains(&("A-02".to_owned(), 1)), "{both:?}");
    }

    #[test]
    fn no_part_is_called_as_that_of_another_group() {
        let text = "EmailAddress,Department\na@b.cz,A\nb@b.cz,A\nc@b.cz,A 01\nd@b.cz,A-01\n";
        let parts = labels(Group::Value(1), Limits { rows_max: 1, ..ALL }, text);
        let expected = ["a-01", "a-02", "a-01.2", "a-01.2.2"].map(|label| (label.to_owned(), 1));
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_row_that_fits_nowhere_is_told() {
        let sheet = sheet(b"EmailAddress\nlong.name@b.cz\n");
        let small = Limits { rows_max: 1, bytes_max: 20 };
        assert_eq!(split(&sheet, Group::None, small, None), Err(SplitError::RowTooLong { line: 2, max: 20 }));
        let none = Limits { rows_max: 0, bytes_max: 100 };
        assert_eq!(split(&sheet, Group::None, none, None), Err(SplitError::NoRoom));
    }
}

mod making {
    use super::*;
    use crate::id::EntityId;
    use zeroize::Zeroizing;

    fn mailbox(address: &str) -> Mailbox {
        Mailbox { origin: Origin::Listed(1), address: address.to_owned(), user: None, root: None }
    }

    fn admin(form: NameForm) -> Admin {
        Admin {
            form,
            name: "mailadmin".to_owned(),
            password: Zeroizing::new("p,\"w ".to_owned()),
            domain: Some("contoso".to_owned()),
            root: "/users/".to_owned(),
        }
    }

    #[test]
    fn the_four_forms_are_written_as_the_guides_have_them() {
        let of = |form| {
            let file = make_imap(&[mailbox("terry.adams@contoso.edu")], &admin(form)).unwrap();
            sheet(&file).rows[0].cells.clone()
        };
        assert_eq!(of(NameForm::Exchange)[1], "contoso/mailadmin/terry.adams");
        assert_eq!(of(NameForm::Dovecot)[1], "terry.adams*mailadmin");
        assert_eq!(of(NameForm::Mirapoint)[1], "#terry.adams@contoso#mailadmin#");
        let courier = of(NameForm::Courier);
        assert_eq!(courier, ["terry.adams@contoso.edu", "mailadmin", "p,\"w ", "/users/terry.adams"]);
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        let of = |mailbox: Mailbox, admin: &Admin| make_imap(&[mailbox], admin).unwrap_err();
        let named = |user: &str| Mailbox { user: Some(user.to_owned()), ..mailbox("a@b.cz") };
        let first = Origin::Listed(1);
        for (user, form) in [
            ("a*b", NameForm::Dovecot),
            ("a/b", NameForm::Dovecot),
            ("#a", NameForm::Dovecot),
            ("a/b", NameForm::Exchange),
            ("#a", NameForm::Mirapoint),
            (" a", NameForm::Mirapoint),
            ("a\0", NameForm::Dovecot),
            ("", NameForm::Courier),
        ] {
            assert_eq!(of(named(user), &admin(form)), MakeError::UserName(first), "{user}");
        }
        assert_eq!(of(mailbox("ada"), &admin(NameForm::Dovecot)), MakeError::NotAnAddress(first));
        assert_eq!(of(mailbox("a@b.cz"), &admin(NameForm::Own)), MakeError::NotOfAdmin);
        let no_domain = Admin { domain: None, ..admin(NameForm::Exchange) };
        assert_eq!(of(mailbox("a@b.cz"), &no_domain), MakeError::Domain);
        let odd_domain = Admin { domain: Some("b#c".to_owned()), ..admin(NameForm::Mirapoint) };
        assert_eq!(of(mailbox("a@b.cz"), &odd_domain), MakeError::Domain);
        for password in ["", "a\0b", "a\nb", "a\rb"] {
            let no_password = Admin { password: Zeroizing::new(password.to_owned()), ..admin(NameForm::Dovecot) };
            assert_eq!(of(mailbox("a@b.cz"), &no_password), MakeError::Password);
        }
        for (name, form) in [("a*b", NameForm::Dovecot), ("a/b", NameForm::Dovecot), ("", NameForm::Courier)] {
            assert_eq!(of(mailbox("a@b.cz"), &Admin { name: name.to_owned(), ..admin(form) }), MakeError::AdminName);
        }
        let twice = [mailbox("a@b.cz"), Mailbox { origin: Origin::Registered(EntityId(7)), ..mailbox("A@B.cz") }];
        let error = make_addresses(&twice, MigrationKind::Staged).unwrap_err();
        assert!(
            error.to_string().starts_with("the registered mailbox E7 has the same address as mailbox 1 of the list")
        );
        assert_eq!(make_imap(&[], &admin(NameForm::Dovecot)), Err(MakeError::Nobody));
        assert_eq!(make_addresses(&[mailbox("a@b.cz")], MigrationKind::Pst), Err(MakeError::Kind));
        assert!(!format!("{:?} {:?}", admin(NameForm::Dovecot), mailbox("a@b.cz")).contains("mailadmin"));
    }
}

mod commands {
    use super::*;

    fn settings() -> CommandSettings {
        CommandSettings {
            name: "Wave-1".to_owned(),
            file: "C:\\Users\\O'Neil\\$x`\u{2019}.csv".to_owned(),
            endpoint: Some("hq".to_owned()),
            delivery_domain: Some("contoso.mail.onmicrosoft.com".to_owned()),
            ..CommandSettings::default()
        }
    }

    #[test]
    fn the_file_is_read_as_bytes_and_every_value_is_quoted_for_powershell() {
        let text = new_migration_batch(MigrationKind::Imap, &settings()).unwrap();
        let expected = "New-MigrationBatch -Name 'Wave-1' `\n    \
             -CSVData ([System.IO.File]::ReadAllBytes('C:\\Users\\O''Neil\\$x`\u{2019}\u{2019}.csv')) `\n    \
             -SourceEndpoint 'hq'\n# then: Start-MigrationBatch -Identity 'Wave-1'\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_relative_path_is_looked_for_where_powershell_is() {
        let of = |file: &str| {
            let settings = CommandSettings { file: file.to_owned(), ..settings() };
            new_migration_batch(MigrationKind::Imap, &settings).unwrap()
        };
        for relative in ["users.csv", "waves\\good-01.csv", ".\\users.csv", "C:users.csv"] {
            let expected = format!("ReadAllBytes((Convert-Path -LiteralPath '{relative}')))");
            assert!(of(relative).contains(&expected), "{}", of(relative));
        }
        for absolute in ["C:\\waves\\a.csv", "d:/waves/a.csv", "\\\\server\\share\\a.csv", "/tmp/a.csv"] {
            assert!(of(absolute).contains(&format!("ReadAllBytes('{absolute}'))")), "{}", of(absolute));
        }
    }

    #[test]
    fn each_kind_has_its_own_parameters() {
        let of = |kind| new_migration_batch(kind, &settings()).unwrap();
        assert!(of(MigrationKind::Onboarding).contains("-TargetDeliveryDomain 'contoso.mail.onmicrosoft.com'"));
        assert!(of(MigrationKind::Offboarding).contains("-TargetEndpoint 'hq'"));
        assert!(of(MigrationKind::Local).starts_with("New-MigrationBatch -Name 'Wave-1' `\n    -Local"));
        assert!(of(MigrationKind::PublicFolderGroups).contains("-PublicFolderToUnifiedGroup"));
        assert_eq!(new_migration_batch(MigrationKind::Pst, &settings()), Err(CommandError::Pst));
        let bare = CommandSettings { endpoint: None, ..settings() };
        assert_eq!(new_migration_batch(MigrationKind::Imap, &bare), Err(CommandError::EndpointMissing));
        let spaced = CommandSettings { name: "Wave 1".to_owned(), ..settings() };
        assert_eq!(new_migration_batch(MigrationKind::Imap, &spaced), Err(CommandError::Name));
        let broken = CommandSettings { file: "a\nRemove-Item".to_owned(), ..settings() };
        assert_eq!(new_migration_batch(MigrationKind::Imap, &broken), Err(CommandError::Control));
    }
}

prop_compose! {
    fn any_cell()(text in "[ -~\u{e1}\u{159}\u{20ac}'=@#;,\"\r\n\t]{0,12}") -> String { text }
}

prop_compose! {
    fn any_rows()(cells in prop::collection::vec((any_cell(), any_cell()), 1..30)) -> Vec<Vec<String>> {
        cells.into_iter().enumerate().map(|(n, (user, password))| {
            vec![format!("u{n}@b.cz"), user, password]
        }).collect()
    }
}

/// Writes rows as Excel would: this delimiter, quotes only where it needs them.
fn as_excel(rows: &[Vec<String>], delimiter: char) -> String {
    let mut text = ["EmailAddress", "UserName", "Password"].join(&delimiter.to_string()) + "\r\n";
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| {
                let quoted = cell.contains([delimiter, '"', '\r', '\n']);
                if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
            })
            .collect();
        text.push_str(&cells.join(&delimiter.to_string()));
        text.push_str("\r\n");
    }
    text
}

fn mailbox_of(user: &str) -> Mailbox {
    Mailbox { origin: Origin::Listed(1), address: format!("{user}@b.cz"), user: None, root: None }
}

proptest! {
    #[test]
    fn converting_keeps_every_cell_byte_for_byte_and_a_second_time_changes_nothing(
        rows in any_rows(), delimiter in prop::sample::select(vec![',', ';', '\t']), wide: bool, mark: bool,
    ) {
        let text = format!("{}{}", if mark || wide { "\u{feff}" } else { "" }, as_excel(&rows, delimiter));
        let bytes: Vec<u8> =
            if wide { text.encode_utf16().flat_map(u16::to_le_bytes).collect() } else { text.into_bytes() };
        let first = convert(&sheet(&bytes), None).unwrap();
        let read = sheet(&first.bytes);
        prop_assert_eq!(read.rows.iter().map(|row| row.cells.clone()).collect::<Vec<_>>(), rows);
        let second = convert(&read, None).unwrap();
        prop_assert_eq!(&second.bytes, &first.bytes);
        prop_assert!(second.changes.is_empty());
    }

    #[test]
    fn splitting_keeps_every_row_once_in_order_below_the_limits(
        rows in any_rows(), rows_max in 1u64..8, bytes_max in 200u64..400, letter: bool,
    ) {
        let mut file = Vec::new();
        push_row(&mut file, ["EmailAddress", "UserName", "Password"]);
        rows.iter().for_each(|row| push_row(&mut file, row.iter().map(String::as_str)));
        let group = if letter { Group::Letter(1) } else { Group::None };
        let pieces = split(&sheet(&file), group, Limits { rows_max, bytes_max }, None).unwrap();
        let mut seen = Vec::new();
        for piece in &pieces {
            prop_assert!(piece.rows <= rows_max && piece.bytes.len() as u64 <= bytes_max && piece.rows > 0);
            let part = sheet(&piece.bytes);
            prop_assert_eq!(part.rows.len() as u64, piece.rows);
            prop_assert_eq!(&part.header, &["EmailAddress", "UserName", "Password"]);
            let numbers: Vec<usize> = part.rows.iter()
                .map(|row| rows.iter().position(|known| *known == row.cells).unwrap()).collect();
            prop_assert!(numbers.is_sorted());
            seen.extend(numbers);
        }
        if !letter {
            prop_assert!(seen.is_sorted());
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..rows.len()).collect::<Vec<_>>());
        let mut labels: Vec<String> = pieces.iter().map(|piece| piece.label.to_lowercase()).collect();
        labels.sort_unstable();
        labels.dedup();
        prop_assert_eq!(labels.len(), pieces.len());
    }

    #[test]
    fn what_is_made_is_refused_or_clean_and_logs_in_as_it_was_asked(
        users in prop::collection::vec(
            (r"[a-zA-Z][a-z0-9]{0,2}", prop::option::of(r"[a-z@/*#\\ ]{0,6}"), prop::option::of("/[a-z/]{0,5}")), 1..8,
        ),
        name in r"[a-z@/*#\\ ]{0,6}|adm", password in "[ -~\u{0}\t\r\n\u{e1}]{0,12}", domain in prop::option::of("[a-z/#.]{0,6}"),
        form in prop::sample::select(NameForm::ALL.to_vec()),
    ) {
        let mailboxes: Vec<Mailbox> = (1..).zip(&users).map(|(number, (local, user, root))| Mailbox {
            origin: Origin::Listed(number), address: format!("{local}@b.cz"), user: user.clone(), root: root.clone(),
        }).collect();
        let admin = Admin {
            form, name, password: zeroize::Zeroizing::new(password.clone()), domain, root: "/users".to_owned(),
        };
        if let Ok(file) = make_imap(&mailboxes, &admin) {
            let sheet = sheet(&file);
            prop_assert_eq!(sheet.rows.len(), users.len());
            prop_assert!(sheet.rows.iter().all(|row| row.cell(2) == password));
            let checked = check(&[("a.csv", &sheet)], &Settings::default()).remove(0);
            prop_assert!(checked.is_usable(), "{:?}", checked.problems);
            prop_assert_eq!(checked.detection, Detection::Certain(MigrationKind::Imap));
            let told = Rule::LoginForms { form, rows: users.len() as u64 };
            prop_assert!(checked.problems.iter().any(|problem| problem.rule == told));
            let read = register::mailboxes(&sheet).unwrap();
            prop_assert!(read.iter().all(|read| read.admin.as_deref() == Some(admin.name.as_str())));
        }
    }

    #[test]
    fn plain_names_are_made_in_every_form_of_an_administrator_and_every_kind_of_addresses(
        users in prop::collection::btree_set(r"[a-z][a-z0-9]{0,4}(\.[a-z0-9]{1,4}){0,2}", 1..20), password in "[!-~\u{e1} ]{1,20}",
        kind in prop::sample::select(MigrationKind::ALL.to_vec()),
    ) {
        let mailboxes: Vec<Mailbox> = users.iter().map(|user| mailbox_of(user)).collect();
        for form in NameForm::ALL.into_iter().filter(|form| form.is_of_admin()) {
            let admin = Admin {
                form, name: "adm".to_owned(), password: zeroize::Zeroizing::new(password.clone()),
                domain: Some("dom".to_owned()), root: "/users".to_owned(),
            };
            prop_assert!(make_imap(&mailboxes, &admin).is_ok(), "{}", form);
        }
        let with_more = [MigrationKind::Imap, MigrationKind::PublicFolders, MigrationKind::PublicFolderGroups, MigrationKind::Pst];
        let made = make_addresses(&mailboxes, kind);
        prop_assert_eq!(made.is_err(), with_more.contains(&kind));
        if let Ok(file) = made {
            // An offboarding needs a database, which the batch gives as a whole.
            let of_batch = std::iter::once("TargetDatabase".to_owned()).collect();
            let settings = Settings { kind: Some(kind), of_batch, ..Settings::default() };
            let checked = check(&[("a.csv", &sheet(&file))], &settings).remove(0);
            prop_assert!(checked.is_usable(), "{:?}", checked.problems);
        }
    }

    #[test]
    fn what_is_made_is_registered_as_it_was_asked(
        users in prop::collection::btree_set("[a-z]{1,8}", 1..20), password in "[!-~\u{e1} ]{1,20}",
        form in prop::sample::select(vec![NameForm::Exchange, NameForm::Dovecot, NameForm::Mirapoint, NameForm::Courier]),
    ) {
        let mailboxes: Vec<Mailbox> =
            users.iter().map(|user| mailbox_of(user)).collect();
        let admin = Admin {
            form, name: "adm".to_owned(), password: zeroize::Zeroizing::new(password.clone()),
            domain: Some("dom".to_owned()), root: "/users".to_owned(),
        };
        let read = register::mailboxes(&sheet(&make_imap(&mailboxes, &admin).unwrap())).unwrap();
        prop_assert_eq!(read.len(), users.len());
        for (read, user) in read.iter().zip(&users) {
            prop_assert_eq!(&read.address, &format!("{user}@b.cz"));
            let (bare, _) = read.user.split_once('@').unwrap_or((&read.user, ""));
            prop_assert_eq!(bare, user);
            prop_assert_eq!(read.password.as_str(), &password);
            prop_assert_eq!(read.admin.as_deref(), Some("adm"));
            prop_assert_eq!(read.root.is_some(), form == NameForm::Courier);
        }
    }

    #[test]
    fn any_bytes_are_checked_converted_and_split_without_panic(
        bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b';'), any::<u8>()], 0..300),
        header: bool,
        kind in prop::option::of(prop::sample::select(MigrationKind::ALL.to_vec())),
        encoding in prop::sample::select(vec![None, Some(Encoding::Windows1250), Some(Encoding::Utf8)]),
        delimiter in prop::sample::select(vec![None, Some(Delimiter::Comma), Some(Delimiter::Semicolon)]),
    ) {
        let bytes = if header { [IMAP.as_bytes(), &bytes].concat() } else { bytes };
        if let Ok(sheet) = sheet::read(&bytes, Named { encoding, delimiter }) {
            let checked = check(&[("a.csv", &sheet), ("b.csv", &sheet)], &Settings { kind, ..Settings::default() });
            for checked in &checked {
                prop_assert!(checked.bad_rows.iter().all(|row| *row < sheet.rows.len()));
                let _ = errors_of(&sheet, "EmailAddress", &checked.problems);
            }
            let _ = convert(&sheet, kind);
            let _ = split(&sheet, Group::Letter(0), Limits { rows_max: 3, bytes_max: 100 }, Some(0));
            let _ = file_of(&sheet.header, sheet.rows.iter());
        }
    }
}
