//! Everything odd that lies in a drop folder, given to the real daemon at once: each thing has its answer, the others
//! are taken in, and the daemon goes on.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use retention_tests::daemon::{Daemon, Site, has_second_person};
use rust_xlsxwriter::Workbook;
use serde_json::Value;

/// The mapping of a source of workbooks.
const BOOKS: &str = "schema = 1\nkind = \"contact\"\nfiles = [\"*.xlsx\"]\ncontent = \"delta\"\nid = [\"Id\"]\n\
    unmapped = \"custom\"\n[mailbox]\nconstant = \"books@example.org\"\n[[column]]\nname = \"Name\"\n\
    field = \"display_name\"\n[[date]]\ncolumn = \"Created\"\nrole = \"created\"\n";

/// What is expected of a delivery: how it ends, the code of its error or of its first rejected row, and how many
/// entities it adds.
type Answer = (&'static str, Option<&'static str>, u64);

/// Two sources: CSV files in `people`, workbooks in `books`.
fn site() -> Site {
    let site = Site::new(&[]);
    fs::create_dir(site.path("books")).expect("a folder");
    site.write("books.toml", BOOKS);
    let books = "[[source]]\nname = \"books\"\nkind = \"xlsx\"\ndrop_dir = \"books\"\nmapping = \"books.toml\"\n";
    site.write("config.toml", &site.config().replace("[diagnostics]", &format!("{books}[diagnostics]")));
    site
}

/// Finds the report of a delivery by its name, in the folders where deliveries end.
fn report_of(folder: &Path, name: &OsStr) -> Option<Value> {
    let ended = ["done", "rejected"].into_iter().filter_map(|shelf| fs::read_dir(folder.join(shelf)).ok()).flatten();
    let found = ended.map(|entry| entry.expect("an entry").path()).find(|number| number.join(name).exists())?;
    let text = fs::read(found.join("intake-report.json")).expect("a report");
    Some(serde_json::from_slice(&text).expect("a report is JSON"))
}

/// Waits for the report of a delivery, and holds it to the answer.
fn answers(daemon: &Daemon<'_>, folder: &Path, name: &OsStr, answer: Answer) {
    let report = daemon.until(&format!("{name:?} has an answer"), || report_of(folder, name));
    let code = report.pointer("/read/error/code").or_else(|| report.pointer("/read/rejections/0/code"));
    let (end, added) = (report["end"].as_str(), report["counts"]["added"].as_u64());
    assert_eq!(
        (end, code.and_then(Value::as_str), added),
        (Some(answer.0), answer.1, Some(answer.2)),
        "{name:?} {report:#}"
    );
}

fn utf16(text: &str) -> Vec<u8> {
    [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn workbook(rows: &[[&str; 3]]) -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (number, row) in (0u32..).zip(rows) {
        for (column, text) in (0u16..).zip(row) {
            sheet.write_string(number, column, *text).expect("a cell");
        }
    }
    book.save_to_buffer().expect("a workbook")
}

#[test]
fn every_odd_file_has_its_answer_and_its_neighbours_are_taken() {
    let head = "Id,Name,Created\n";
    let rows = |text: &str| format!("{head}{text}").into_bytes();
    let one = |id: &str| rows(&format!("{id},Jana,2015-05-01\n"));
    let people: Vec<(&[u8], Vec<u8>, Answer)> = vec![
        (b"empty.csv", Vec::new(), ("rejected", Some("empty"), 0)),
        (b"blank.csv", b"\n\n".to_vec(), ("rejected", Some("no_header"), 0)),
        (b"header-only.csv", head.into(), ("done", None, 0)),
        (b"no-header.csv", b"n1,Jana,2015-05-01\n".to_vec(), ("rejected", Some("column_missing"), 0)),
        (
            b"wrong-header.csv",
            b"Idd,Name,Created\nw1,Jana,2015-05-01\n".to_vec(),
            ("rejected", Some("column_missing"), 0),
        ),
        (
            b"two-columns.csv",
            b"Id,Name,Name,Created\nt1,a,b,2015-05-01\n".to_vec(),
            ("rejected", Some("column_repeated"), 0),
        ),
        (b"ragged.csv", rows("r1,Jana\nr2,Jana,2015-05-01\nr3,a,b,c\n"), ("done_with_rejects", Some("ragged"), 1)),
        (
            b"unclosed.csv",
            rows("u1,Jana,2015-05-01\nu2,\"Jana,2015-05-01\nu3,x,y\n"),
            ("done_with_rejects", Some("quote_unclosed"), 1),
        ),
        (b"half.csv", rows("h1,Jana,2015-05-01\nh2,Ja"), ("done_with_rejects", Some("half_written"), 1)),
        (b"no-id.csv", rows(",Jana,2015-05-01\ni2,Jana,2015-05-01\n"), ("done_with_rejects", Some("id_missing"), 1)),
        (b"nul.csv", rows("z1,Ja\0na,2015-05-01\nz2,Jana,2015-05-01\n"), ("done_with_rejects", Some("nul_byte"), 1)),
        (
            b"latin.csv",
            [&one("l1")[..], b"l2,J\xe1na,2015-05-01\n"].concat(),
            ("rejected", Some("encoding_doubtful"), 0),
        ),
        (b"zip.csv", b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe\x80".to_vec(), ("rejected", Some("zip_archive"), 0)),
        (b"old-excel.csv", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), ("rejected", Some("workbook_encrypted"), 0)),
        (b"utf16.csv", utf16("Id;Name;Created\r\nx1;J\u{e1}na;2015-05-01\r\n"), ("done", None, 1)),
        (b"excel.csv", b"\xef\xbb\xbfId;Name;Created\r\ne1;\"a;b\";2015-05-01\r\n".to_vec(), ("done", None, 1)),
        (b"ends.csv", rows("m1,Jana,2015-05-01\r\nm2,Jana,2015-05-01\nm3,Jana,2015-05-01\r\n"), ("done", None, 3)),
        (b"no-last-end.csv", rows("q1,Jana,2015-05-01"), ("done", None, 1)),
        (b"new\nline.csv", one("k1"), ("done", None, 1)),
        (
            b"together.csv",
            [&one("o1")[..], b"\xef\xbb\xbf", &one("o2"), &one("o3")].concat(),
            ("done_with_rejects", Some("header_repeated"), 3),
        ),
        (b"not-utf8-\xff.csv", one("k2"), ("rejected", Some("no_mapping"), 0)),
        (b"letter.pdf", b"%PDF-1.7".to_vec(), ("rejected", Some("no_mapping"), 0)),
        (b"good.csv", one("g1"), ("done", None, 1)),
    ];
    let books: Vec<(&[u8], Vec<u8>, Answer)> = vec![
        (b"broken.xlsx", b"no workbook".to_vec(), ("rejected", Some("workbook_broken"), 0)),
        (b"locked.xlsx", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), ("rejected", Some("workbook_encrypted"), 0)),
        (b"headless.xlsx", workbook(&[]), ("rejected", Some("no_header"), 0)),
        (b"old.xls", b"no workbook".to_vec(), ("rejected", Some("no_mapping"), 0)),
        (
            b"people.xlsx",
            workbook(&[
                ["Id", "Name", "Created"],
                ["b1", "J\u{e1}na", "2015-05-01"],
                ["", "nobody", ""],
                ["b3", "Ota", "2016-05-01"],
            ]),
            ("done_with_rejects", Some("id_missing"), 2),
        ),
    ];
    let site = site();
    let daemon = site.start();
    for (folder, files) in [("people", &people), ("books", &books)] {
        for (name, bytes, _) in files {
            let staged = site.path("staging").join(OsStr::from_bytes(name));
            fs::write(&staged, bytes).expect("a file");
            fs::rename(staged, site.path(folder).join(OsStr::from_bytes(name))).expect("a rename");
        }
    }
    let mut added = 0;
    for (folder, files) in [("people", &people), ("books", &books)] {
        for (name, _, answer) in files {
            answers(&daemon, &site.path(folder), OsStr::from_bytes(name), *answer);
            added += answer.2;
        }
    }
    // A person sees how many were rejected of each source, and where they lie.
    let rejected =
        |files: &[(&[u8], Vec<u8>, Answer)]| files.iter().filter(|(.., answer)| answer.0 == "rejected").count();
    let expected = [("books", rejected(&books) as u64), ("people", rejected(&people) as u64)];
    daemon.until("all that was rejected is told", || {
        let status = site.ctl(&["status", "--output", "json"]).json();
        let told = status["attention"].as_array().expect("a list").iter();
        let told: Vec<(&str, u64)> = told
            .filter(|one| one["what"] == "deliveries_rejected")
            .map(|one| (one["source"].as_str().expect("a source"), one["deliveries"].as_u64().expect("a number")))
            .collect();
        (told == expected).then_some(())
    });
    let _needs_a_person = site.ctl(&["status"]).ends(10);
    let left = site.rows(&["intake", "left"]);
    assert!(left.iter().all(|row| row["why"] == "rejected"), "{left:?}");
    let contacts = site.rows(&["entity", "list", "--kind", "contact"]);
    assert_eq!(contacts.len() as u64, added);
    assert!(contacts.iter().any(|row| row["source"] == "books"));
    let parts = site.rows(&["store", "verify"]);
    assert!(parts.iter().all(|part| part["state"] == "intact"), "{parts:?}");
    assert!(!site.diagnostics().contains("panicked"), "{}", site.diagnostics());
    daemon.stop();
}

/// Waits until the diagnostics say something.
fn told(site: &Site, daemon: &Daemon<'_>, text: &str) {
    daemon.until(&format!("it is told: {text}"), || site.diagnostics().contains(text).then_some(()));
}

#[test]
fn what_is_never_taken_stays_where_it_is_and_the_reason_is_told() {
    let site = site();
    let folder = site.path("people");
    site.write("elsewhere.csv", "Id,Name,Created\n1,Jana,2015-05-01\n");
    symlink(site.path("elsewhere.csv"), folder.join("link.csv")).expect("a link");
    symlink(&folder, folder.join("loop")).expect("a link");
    fs::create_dir(folder.join("folder")).expect("a folder");
    let nested = site.path("drop/ada@example.org_20200302T0915301234");
    fs::create_dir_all(nested.join("inside")).expect("a folder");
    // A hole of two gigabytes and a byte: one more than a source takes when nothing else is said.
    let large = fs::File::create(folder.join("large.csv")).expect("a file");
    large.set_len(2 * 1024 * 1024 * 1024 + 1).expect("a hole");
    let daemon = site.start();
    // One that is renamed in is told like one that lay there.
    fs::create_dir(site.path("staging/ada_20200302")).expect("a folder");
    fs::rename(site.path("staging/ada_20200302"), site.path("drop/ada_20200302")).expect("a rename");
    daemon.until("both sources told of a directory", || {
        (site.diagnostics().matches("not an export directory").count() == 2).then_some(())
    });
    site.drop_people("good", &[("1".to_owned(), "Jana", "2015-05-01")]);
    answers(&daemon, &folder, OsStr::new("good.csv"), ("done", None, 1));
    for text in [
        "a symbolic link is never followed",
        "not an export directory",
        "an export directory holds no directories",
        "larger than 2147483648 bytes",
    ] {
        told(&site, &daemon, text);
    }
    for left in ["link.csv", "loop", "folder", "large.csv"] {
        assert!(folder.join(left).symlink_metadata().is_ok(), "{left} was taken away");
    }
    assert!(nested.exists());
    assert_eq!(site.rows(&["intake", "list"]).len(), 1);
    // A person sees how many in the status, and which, why and what to do in a list of their own.
    let status = site.ctl(&["status", "--output", "json"]).ends(10).json();
    let left: Vec<(&str, u64)> = status["attention"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["what"] == "entries_left")
        .map(|one| (one["source"].as_str().expect("a source"), one["entries"].as_u64().expect("a number")))
        .collect();
    assert_eq!(left, [("crm", 2), ("people", 4)], "{status}");
    assert!(!status.to_string().contains("ada@example.org"), "a name may name a person: {status}");
    let rows = site.rows(&["intake", "left"]);
    let told: BTreeSet<(&str, &str, &str)> = rows
        .iter()
        .map(|row| {
            let text = |field: &str| row[field].as_str().expect("a text");
            (text("source"), text("name"), text("why"))
        })
        .collect();
    let expected = [
        ("crm", "ada@example.org_20200302T0915301234", "directory_inside"),
        ("crm", "ada_20200302", "directory_unknown"),
        ("people", "folder", "directory_unknown"),
        ("people", "large.csv", "too_large"),
        ("people", "link.csv", "symlink"),
        ("people", "loop", "symlink"),
    ];
    assert_eq!(told, BTreeSet::from(expected));
    let looked = site.rows(&["audit", "query", "--kind", "RecordsOpened", "--limit", "1"]);
    assert!(looked[0].to_string().contains("IntakeLeft"), "{looked:?}");
    fs::remove_file(folder.join("link.csv")).expect("it is removed");
    daemon.until("one less is told", || (site.rows(&["intake", "left"]).len() == 5).then_some(()));
    daemon.stop();
}

#[test]
fn a_file_of_exactly_two_gigabytes_is_read_and_answered() {
    let site = site();
    let daemon = site.start();
    // Nothing but a hole: two gigabytes that are hashed and looked at, and no row in them.
    let file = fs::File::create(site.path("staging/hole.csv")).expect("a file");
    file.set_len(2 * 1024 * 1024 * 1024).expect("a hole");
    fs::rename(site.path("staging/hole.csv"), site.path("people/hole.csv")).expect("a rename");
    answers(&daemon, &site.path("people"), OsStr::new("hole.csv"), ("rejected", Some("encoding_doubtful"), 0));
    site.drop_people("good", &[("1".to_owned(), "Jana", "2015-05-01")]);
    answers(&daemon, &site.path("people"), OsStr::new("good.csv"), ("done", None, 1));
    daemon.stop();
}

#[test]
fn a_file_that_the_daemon_may_not_read_is_rejected_with_the_reason() {
    if !has_second_person() {
        println!("only root can run the daemon as somebody who may not read everything: nothing was tested");
        return;
    }
    let site = site();
    site.hand_over();
    let daemon = site.start();
    let secret = site.path("people/secret.csv");
    let lock = |path: &PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(site.path("staging/secret.csv"), "Id,Name,Created\n1,Jana,2015-05-01\n").expect("a file");
    lock(&site.path("staging/secret.csv"));
    fs::rename(site.path("staging/secret.csv"), &secret).expect("a rename");
    answers(&daemon, &site.path("people"), OsStr::new("secret.csv"), ("rejected", Some("unreadable"), 0));
    // An export with one file that may not be read: the files beside it say nothing about that one.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ocm/ada.quill@contoso.com_20200302T0915301234");
    let (staged, name) = (site.path("staging/export"), sample.file_name().expect("a name"));
    fs::create_dir(&staged).expect("a folder");
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o777)).expect("a mode");
    for file in fs::read_dir(&sample).expect("the sample") {
        let file = file.expect("a file");
        fs::copy(file.path(), staged.join(file.file_name())).expect("a copy");
    }
    lock(&staged.join("Deals.csv"));
    fs::rename(&staged, site.path("drop").join(name)).expect("a rename");
    answers(&daemon, &site.path("drop"), name, ("rejected", Some("unreadable"), 0));
    site.drop_people("good", &[("1".to_owned(), "Jana", "2015-05-01")]);
    fs::set_permissions(site.path("people/good.csv"), fs::Permissions::from_mode(0o644)).unwrap_or_default();
    answers(&daemon, &site.path("people"), OsStr::new("good.csv"), ("done", None, 1));
    daemon.stop();
}
