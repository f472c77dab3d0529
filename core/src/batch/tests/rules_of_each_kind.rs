//! The rules of one kind each.

use super::*;

fn rows(header: &str, count: usize) -> String {
    let tail = ",x".repeat(header.matches(',').count());
    std::iter::once(header.to_owned())
        .chain((0..count).map(|n| format!("u{n}@b.cz{tail}")))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn staged_has_2000_rows_a_password_of_eight_characters_and_true_or_false() {
    assert_eq!(rules(MigrationKind::Staged, &rows("EmailAddress", 2_000)), []);
    let too_many = Rule::TooManyRows { kind: MigrationKind::Staged, rows: 2_001, max: 2_000 };
    assert_eq!(rules(MigrationKind::Staged, &rows("EmailAddress", 2_001)), [too_many]);
    let of = |password: &str, change: &str| {
        rules(
            MigrationKind::Staged,
            &format!("EmailAddress,Password,ForceChangePassword\na@b.cz,{password},{change}\n"),
        )
    };
    assert_eq!(of("1234567", "False"), [Rule::PasswordShort]);
    assert_eq!(of("žluťoučk", "False"), []);
    assert_eq!(of("12345678", "True"), [Rule::ForceChange]);
    let word = |meant| Rule::NotAWord { attribute: "ForceChangePassword", words: &["True", "False"], meant };
    assert_eq!(of("12345678", "NEPRAVDA"), [word(Some("False"))]);
    assert_eq!(of("12345678", "Pravda"), [word(Some("True"))]);
    assert_eq!(of("12345678", "maybe-later"), [word(None)]);
    let case = Rule::WordCase { attribute: "ForceChangePassword", meant: "False" };
    assert_eq!(of("12345678", "FALSE"), [case]);
}

#[test]
fn imap_has_50000_rows_10_mb_and_no_empty_name_or_password() {
    let too_many = Rule::TooManyRows { kind: MigrationKind::Imap, rows: 50_001, max: 50_000 };
    let text = std::iter::once("EmailAddress,UserName,Password".to_owned())
        .chain((0..50_001).map(|n| format!("u{n}@b.cz,u{n},x")))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(rules(MigrationKind::Imap, &text), [too_many]);
    let mut text = format!("{IMAP}a@b.cz,a,x\r\n");
    let filler = "x".repeat(200_000);
    for n in 0..50 {
        text.push_str(&format!("u{n}@b.cz,u{n},{filler}\r\n"));
    }
    assert!(matches!(rules(MigrationKind::Imap, &text).as_slice(), [Rule::TooManyBytes { max: 10_000_000, .. }]));
    let told = places(MigrationKind::Imap, &format!("{IMAP}a@b.cz,,x\r\nb@b.cz, b,x\r\nc@b.cz,c ,x\r\nd@b.cz,d,\r\n"));
    let around = || Rule::SpaceAround { attribute: "UserName" };
    let expected = [
        (Some(2), Some(2), Rule::Empty("UserName")),
        (Some(3), Some(2), around()),
        (Some(4), Some(2), around()),
        (Some(5), Some(3), Rule::Empty("Password")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn onboarding_knows_limits_and_types_and_no_databases() {
    let of =
        |header: &str, cell: &str| rules(MigrationKind::Onboarding, &format!("EmailAddress,{header}\na@b.cz,{cell}\n"));
    let not = |attribute| Rule::NotALimit { attribute };
    for good in ["0", "2147483647", "Unlimited"] {
        assert_eq!(of("BadItemLimit", good), [Rule::LimitDeprecated("BadItemLimit")], "{good}");
    }
    for bad in ["-1", "2147483648", "unlimited", "1.5", "1 000", "+1"] {
        assert!(of("LargeItemLimit", bad).contains(&not("LargeItemLimit")), "{bad}");
    }
    for good in ["PrimaryOnly", "ArchiveOnly", "PrimaryAndArchive", ""] {
        assert_eq!(of("MailboxType", good), [], "{good}");
    }
    let words = &["PrimaryOnly", "ArchiveOnly", "PrimaryAndArchive"];
    let near = Rule::NotAWord { attribute: "MailboxType", words, meant: Some("ArchiveOnly") };
    assert_eq!(of("MailboxType", "ArchivOnly"), [near]);
    assert_eq!(of("TargetDatabase", "DB1"), [Rule::ColumnUnknown]);
    assert_eq!(rules(MigrationKind::CrossTenant, "EmailAddress,MailboxType\na@b.cz,\n"), []);
}

#[test]
fn offboarding_needs_a_database_and_the_others_do_not() {
    let text = "EmailAddress,TargetDatabase,TargetArchiveDatabase,BadItemLimit,MailboxType\na@b.cz,,,,\n";
    assert_eq!(rules(MigrationKind::Offboarding, text), [Rule::EmptyOfBatch("TargetDatabase")]);
    assert_eq!(rules(MigrationKind::CrossForest, text), []);
    assert_eq!(rules(MigrationKind::Local, text), []);
    let text = "EmailAddress,LargeItemLimit\na@b.cz,0\n";
    assert_eq!(rules(MigrationKind::CrossForest, text), [], "its own servers still follow it");
    assert_eq!(rules(MigrationKind::Local, text), [Rule::ColumnUnknown]);
}

#[test]
fn a_move_between_forests_without_a_database_says_when_that_is_refused() {
    let is_told = |text: &str, given: &[&str]| {
        let settings = Settings {
            kind: Some(MigrationKind::CrossForest),
            of_batch: given.iter().map(|name| (*name).to_owned()).collect(),
            ..Settings::default()
        };
        let checked = check(&[("a.csv", &sheet(text.as_bytes()))], &settings).remove(0);
        assert!(checked.is_usable(), "the target forest may begin the move");
        checked.problems.iter().any(|problem| problem.rule == Rule::DatabaseOfPush)
    };
    assert!(is_told("EmailAddress\na@b.cz\n", &[]));
    assert!(is_told("EmailAddress,TargetDatabase\na@b.cz,DB1\nc@b.cz,\n", &[]));
    assert!(!is_told("EmailAddress,TargetDatabase\na@b.cz,DB1\n", &[]));
    assert!(!is_told("EmailAddress\na@b.cz\n", &["TargetDatabase"]));
}

#[test]
fn google_takes_the_address_at_google_where_it_differs() {
    let of = |name: &str| rules(MigrationKind::Google, &format!("EmailAddress,Username\na@b.cz,{name}\n"));
    assert_eq!(of(""), []);
    assert_eq!(of("a@gmail.example.com"), []);
    assert_eq!(of("a"), [Rule::NotAnAddress { attribute: "Username" }]);
}

#[test]
fn public_folders_have_a_root_and_paths_with_backslashes() {
    let text = "\"FolderPath\",\"TargetMailbox\"\r\n\"\\\",\"Mailbox1\"\r\n\"\\Sales\",\"Mailbox2\"\r\n";
    assert_eq!(rules(MigrationKind::PublicFolders, text), []);
    let told = rules(MigrationKind::PublicFolders, "FolderPath,TargetMailbox\nSales,M\n\\A,M\n\\a,N\n\\B,\n");
    assert!(told.contains(&Rule::RootMissing) && told.contains(&Rule::NotAFolderPath));
    assert!(told.contains(&Rule::Empty("TargetMailbox")));
    assert!(told.contains(&Rule::Repeated { key: "FolderPath", line: 3 }));
}

#[test]
fn groups_have_500_entries_one_folder_each_and_may_share_mail_and_calendar() {
    let many = std::iter::once("FolderPath,TargetGroupMailbox".to_owned())
        .chain((0..501).map(|n| format!("\\F{n},g{n}@b.cz")))
        .collect::<Vec<_>>()
        .join("\n");
    let too_many = Rule::TooManyRows { kind: MigrationKind::PublicFolderGroups, rows: 501, max: 500 };
    assert_eq!(rules(MigrationKind::PublicFolderGroups, &many), [too_many]);
    let text = "FolderPath,TargetGroupMailbox\n\\Mail,g@b.cz\n\\Calendar,G@b.cz\n\\X,nobody\n";
    let expected = [Rule::GroupRepeated(2), Rule::NotAnAddress { attribute: "TargetGroupMailbox" }];
    assert_eq!(rules(MigrationKind::PublicFolderGroups, text), expected);
}

const PST: &str = "Workload,FilePath,Name,Mailbox,IsArchive,TargetRootFolder,ContentCodePage,SPFileContainer,SPManifestContainer,SPSiteUrl";

#[test]
fn a_pst_mapping_keeps_its_header_and_every_column_has_its_form() {
    let of = |row: &str| rules(MigrationKind::Pst, &format!("{PST}\n{row}\n"));
    assert_eq!(of("Exchange,,a.pst,a@b.cz,,/,,,,"), []);
    assert_eq!(of("Exchange,sub,a.PST,8d4f1ef6-4a4b-4a4a-8f5e-0123456789ab,TRUE,/Old,932,,,"), []);
    let cases: [(&str, Rule); 8] = [
        ("exchange,,a.pst,a@b.cz,,,,,,", Rule::NotExchange),
        ("Exchange,ingestiondata/x,a.pst,a@b.cz,,,,,,", Rule::PstFolderForm),
        ("Exchange,,a.zip,a@b.cz,,,,,,", Rule::NotAPst),
        ("Exchange,,a.pst,ada,,,,,,", Rule::NotAnAddressOrGuid { attribute: "Mailbox" }),
        ("Exchange,,a.pst,a@b.cz,True,,,,,", Rule::WordCase { attribute: "IsArchive", meant: "TRUE" }),
        ("Exchange,,a.pst,a@b.cz,,Old,,,,", Rule::TargetRootForm),
        ("Exchange,,a.pst,a@b.cz,,,cp932,,,", Rule::NotACodePage),
        ("Exchange,,a.pst,a@b.cz,,,,,,https://x", Rule::MustBeBlank { attribute: "SPSiteUrl" }),
    ];
    for (row, expected) in cases {
        assert_eq!(of(row), [expected], "{row}");
    }
    let without_page = PST.replace("ContentCodePage,", "");
    assert_eq!(rules(MigrationKind::Pst, &format!("{without_page}\nExchange,,a.pst,a@b.cz,,,,,\n")), []);
    let turned = PST.replace("FilePath,Name", "Name,FilePath");
    assert_eq!(rules(MigrationKind::Pst, &format!("{turned}\nExchange,a.pst,,a@b.cz,,,,,,\n")), [Rule::HeaderChanged]);
    let twice =
        format!("{PST}\nExchange,,a.pst,a@b.cz,,,,,,\nExchange,x,a.pst,c@b.cz,,,,,,\nExchange,,A.pst,a@b.cz,,,,,,\n");
    let told = rules(MigrationKind::Pst, &twice);
    let expected = [Rule::Repeated { key: "Name", line: 3 }, Rule::Repeated { key: "Name", line: 2 }];
    assert_eq!(told, expected, "names are case-sensitive");
    let held = checked(Some(MigrationKind::Pst), &twice).problems;
    assert!(held.iter().any(|problem| problem.rule == Rule::RetentionHold));
}
