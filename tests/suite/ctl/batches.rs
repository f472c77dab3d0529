//! Migration batches with the real program: what it writes, what it says, and that it never says a password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use retention_tests::daemon::{Said, Site, program};
use serde_json::json;

const SECRETS: [&str; 3] = ["S3cret,one", "=S3cret;two", "S3cretěthree"];

/// Runs `retentionctl batch`, and checks that no password is in what it says.
fn batch(args: &[&str]) -> Said {
    let said = program("retentionctl", &[&["batch"], args].concat());
    for secret in SECRETS {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{} says a password", said.asked);
    }
    said
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// The text in windows-1250, for the letters of these tests.
fn windows_1250(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| match c {
            'ě' => 0xec,
            'ř' => 0xf8,
            c => u8::try_from(c).expect("a known letter"),
        })
        .collect()
}

#[test]
fn a_file_of_excel_is_explained_converted_checked_and_split() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    let rows: Vec<String> = (0..5).map(|n| format!("u{n}@contoso.com;u{n}*adm;\"{}\"", SECRETS[n % 3])).collect();
    let text = format!("sep=;\r\nEmail Address;UserName;Password\r\n{}\r\n;;\r\n", rows.join("\r\n"));
    fs::write(path("excel.csv"), windows_1250(&text)).expect("a file");

    let doubtful = batch(&["check", &path("excel.csv"), "--output", "jsonl"]).ends(78);
    assert!(doubtful.out.contains("line 5") && doubtful.out.contains("--encoding windows-1250"), "{}", doubtful.out);
    let named = ["--encoding", "windows-1250", "--output", "jsonl"];
    let told = batch(&[&["check", &path("excel.csv")], &named[..]].concat()).ends(78).rows();
    let errors: Vec<&str> =
        told.iter().filter(|row| row["severity"] == "error").map(|row| row["message"].as_str().unwrap()).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    for word in ["windows-1250", "semicolons", "sep=", "did you mean EmailAddress?"] {
        assert!(errors.iter().any(|error| error.contains(word)), "{word}: {errors:?}");
    }

    let changes = batch(&[&["convert", &path("excel.csv"), "--into", &path("users.csv")], &named[..]].concat()).ends(0);
    assert_eq!(changes.rows().len(), 5, "{}", changes.out);
    assert_eq!(mode(&dir.path().join("users.csv")), 0o600);
    let expected = "EmailAddress,UserName,Password\r\nu0@contoso.com,u0*adm,\"S3cret,one\"\r\n\
         u1@contoso.com,u1*adm,=S3cret;two\r\nu2@contoso.com,u2*adm,S3cretěthree\r\n\
         u3@contoso.com,u3*adm,\"S3cret,one\"\r\nu4@contoso.com,u4*adm,=S3cret;two\r\n";
    assert_eq!(fs::read_to_string(path("users.csv")).expect("text"), expected);
    fs::write(path("ragged.csv"), "EmailAddress;UserName;Password\na@b.cz;a\n").expect("a file");
    let ragged = ["convert", &path("ragged.csv"), "--into", &path("whole.csv"), "--output", "jsonl"];
    assert_eq!(batch(&ragged).ends(78).rows()[0]["line"], 2);
    let again = batch(&["convert", &path("users.csv"), "--into", &path("users.csv")]).ends(2);
    assert!(again.err.contains("cannot be written"), "{}", again.err);

    let good = batch(&["check", &path("users.csv"), "--output", "jsonl"]).ends(0).rows();
    let notes: Vec<String> = good.iter().map(|row| format!("{}: {}", row["severity"], row["message"])).collect();
    assert!(notes.iter().any(|note| note.contains("an IMAP migration")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("5 rows log in as Dovecot")), "{notes:?}");

    let pieces = batch(&["split", &path("users.csv"), "--rows", "2", "--into", &path("parts"), "--output", "jsonl"]);
    let pieces = pieces.ends(0).rows();
    assert_eq!(pieces.iter().map(|piece| piece["rows"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(mode(&dir.path().join("parts/users-02.csv")), 0o600);
    let _no_user_twice = batch(&["check", &path("parts")]).ends(0);
    fs::copy(path("parts/users-02.csv"), path("parts/users-04.csv")).expect("a copy");
    let twice = batch(&["check", &path("parts"), "--output", "jsonl"]).ends(78).rows();
    let twice = twice.iter().filter(|row| row["message"].as_str().unwrap().contains("is the same as in line")).count();
    assert_eq!(twice, 4, "both rows of both files");
}

#[test]
fn a_suggested_command_runs_as_it_is_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    let hints = |args: &[&str]| -> Vec<String> {
        let told = batch(&[&["check"], args, &["--output", "jsonl"]].concat()).ends(78).rows();
        told.iter().filter_map(|row| row["hint"].as_str().map(str::to_owned)).collect()
    };
    let run = |command: &str| {
        let words: Vec<&str> = command.strip_prefix("retentionctl batch ").expect("a command").split(' ').collect();
        batch(&words)
    };
    // Whichever of six kinds it is.
    fs::write(path("who.csv"), "Email Address\r\nada@contoso.com\r\n").expect("a file");
    let told = hints(&[&path("who.csv")]);
    let convert = told.iter().find(|hint| hint.starts_with("retentionctl")).expect("a command");
    let _converted = run(convert).ends(0);
    assert_eq!(fs::read_to_string(path("who-converted.csv")).expect("text"), "EmailAddress\r\nada@contoso.com\r\n");
    // Read as it was said, and of the kind that was said.
    fs::write(path("said.csv"), windows_1250("EmailAddress;username\r\na@b.cz;ě@b.cz\r\n")).expect("a file");
    let said = ["--kind", "google", "--encoding", "windows-1250", "--delimiter", "semicolon"];
    let told = hints(&[&[path("said.csv").as_str()], &said[..]].concat());
    for hint in told.iter().filter(|hint| hint.starts_with("retentionctl")) {
        let _converted = run(hint).ends(0);
        let text = fs::read_to_string(path("said-converted.csv")).expect("text");
        assert_eq!(text, "EmailAddress,Username\r\na@b.cz,ě@b.cz\r\n", "{hint}");
        fs::remove_file(path("said-converted.csv")).expect("removed");
    }
    let rows: String = (0..501).map(|n| format!("\\F{n},g{n}@b.cz\r\n")).collect();
    fs::write(path("large.csv"), format!("FolderPath,TargetGroupMailbox\r\n{rows}")).expect("a file");
    let told = hints(&[&path("large.csv")]);
    let _split = run(told.iter().find(|hint| hint.starts_with("retentionctl")).expect("a command")).ends(0);
    assert!(Path::new(&path("large-parts/large-01.csv")).exists());
    // What was said of the batch beside the file is said of its parts.
    let rows: String = (0..501).map(|n| format!("\\F{n},g{n}@b.cz,x\r\n")).collect();
    fs::write(path("noted.csv"), format!("FolderPath,TargetGroupMailbox,Note\r\n{rows}")).expect("a file");
    let told = hints(&[&path("noted.csv"), "--kind", "public-folder-groups", "--allow-unknown-columns"]);
    let _split = run(told.iter().find(|hint| hint.starts_with("retentionctl")).expect("a command")).ends(0);
    // What a conversion would refuse is not suggested as if it went through.
    fs::write(path("none.csv"), "ada@contoso.com;ada\r\n").expect("a file");
    let told = hints(&[&path("none.csv"), "--delimiter", "semicolon"]);
    assert!(told.iter().any(|hint| hint.starts_with("first mend")), "{told:?}");
    assert!(!told.iter().any(|hint| hint.starts_with("retentionctl")), "{told:?}");
}

#[test]
fn bad_rows_are_listed_and_good_rows_written_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    let text = format!(
        "EmailAddress,UserName,Password\na@b.cz,a,\"{}\"\nada,x,{}\nc@b.cz, c,{}\nd@b.cz,d,x\n",
        SECRETS[0], SECRETS[1], SECRETS[2]
    );
    fs::write(path("users.csv"), text).expect("a file");
    let (errors, good) = (path("MigrationErrors.csv"), path("good.csv"));
    let _bad = batch(&["check", &path("users.csv"), "--errors", &errors, "--good-rows", &good]).ends(78);
    let listed = fs::read_to_string(&errors).expect("a list");
    let expected = "Line,EmailAddress,ErrorMessage\r\n3,ada,EmailAddress is not a valid SMTP address\r\n\
         4,c@b.cz,UserName begins or ends with a space\r\n";
    assert_eq!(listed, expected);
    let kept = fs::read_to_string(&good).expect("good rows");
    assert_eq!(kept, "EmailAddress,UserName,Password\r\na@b.cz,a,\"S3cret,one\"\r\nd@b.cz,d,x\r\n");
    assert_eq!((mode(Path::new(&good)), mode(Path::new(&errors))), (0o600, 0o600));
    fs::write(path("whole.csv"), "EmailAddress;UserName;Password\na@b.cz;a;x\n").expect("a file");
    let whole = batch(&["check", &path("whole.csv"), "--good-rows", &path("none.csv")]).ends(78);
    assert!(whole.out.contains("semicolons") && !Path::new(&path("none.csv")).exists(), "{}", whole.out);
    fs::write(path("teams.csv"), "EmailAddress,UserName,Password,Department\na@b.cz,a,x,Sales\n").expect("a file");
    let by = |column: &str| batch(&["split", &path("teams.csv"), "--by", column, "--into", &path("teams")]);
    let _misspelt = by("department").ends(2).says("no column of the name");
    let _split = by("Department").ends(0);
    let not_split = batch(&["split", &path("users.csv"), "--into", &path("parts")]).ends(78);
    assert!(not_split.out.contains("SMTP") && !Path::new(&path("parts")).exists(), "{}", not_split.out);
}

#[test]
fn a_batch_is_made_from_a_list_and_a_password_that_only_its_owner_can_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    fs::write(path("list.txt"), "terry.adams@contoso.edu\nann@contoso.edu\n").expect("a file");
    fs::write(path("password"), format!("{}\n", SECRETS[1])).expect("a file");
    fs::set_permissions(path("password"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let common = |form: &'static str, into: &str| {
        [
            "make",
            &path("list.txt"),
            "--form",
            form,
            "--admin",
            "mailadmin",
            "--domain",
            "dom",
            "--password-file",
            &path("password"),
            "--into",
            into,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run = |args: &[String]| batch(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let open = run(&common("dovecot", &path("open.csv"))).ends(2);
    assert!(open.err.contains("can be read by others") && !Path::new(&path("open.csv")).exists(), "{}", open.err);
    fs::set_permissions(path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
    for (form, name) in [
        ("exchange", "dom/mailadmin/terry.adams"),
        ("dovecot", "terry.adams*mailadmin"),
        ("mirapoint", "#terry.adams@dom#mailadmin#"),
        ("courier", "mailadmin"),
    ] {
        let file = path(&format!("wave of {form}.csv"));
        let made = run(&common(form, &file)).ends(0);
        assert!(made.err.contains(&format!("(shred -u '{file}')")), "a shell reads it so: {}", made.err);
        let text = fs::read_to_string(&file).expect("a batch");
        let row = format!("terry.adams@contoso.edu,{name},{}", SECRETS[1]);
        assert_eq!(text.lines().nth(1).map(|line| line.starts_with(&row)), Some(true), "{text}");
        assert_eq!(text.contains(",UserRoot\r\n") && text.contains(",/users/ann\r\n"), form == "courier", "{text}");
        assert_eq!(mode(Path::new(&file)), 0o600);
        let _clean = batch(&["check", &file, "--kind", "imap"]).ends(0);
    }
    for bad in ["a@b.cz\n\"c@b.cz\nd@b.cz\n", "EmailAddress,UserName\na@b.cz,a\nc@b.cz\n", "EmailAddress\na@b.cz,a\n"] {
        fs::write(path("bad.txt"), bad).expect("a file");
        let refused = batch(&["make", &path("bad.txt"), "--kind", "staged", "--into", &path("lost.csv")]).ends(2);
        assert!(refused.err.contains("nothing was written") && !Path::new(&path("lost.csv")).exists(), "{bad}");
    }
    let addresses = path("staged.csv");
    let _made = batch(&["make", &path("list.txt"), "--kind", "staged", "--into", &addresses]).ends(0);
    assert_eq!(fs::read_to_string(addresses).expect("a batch").lines().count(), 3);
}

#[test]
fn the_command_for_powershell_is_ready_to_paste() {
    let said =
        batch(&["command", r"C:\O'Neil\users.csv", "--kind", "imap", "--name", "Wave1", "--endpoint", "hq"]).ends(0);
    assert!(said.out.contains(r"ReadAllBytes('C:\O''Neil\users.csv')") && said.out.contains("-SourceEndpoint 'hq'"));
    let _pst = batch(&["command", "a.csv", "--kind", "pst", "--name", "x"]).ends(2).says("Purview");
    let _kind = batch(&["command", "a.csv", "--kind", "mbox", "--name", "x"]).ends(2).says("cross-tenant");
}

#[test]
fn a_value_of_the_batch_is_for_an_attribute_that_there_is() {
    let said = |name: &str| batch(&["check", "a.csv", "--kind", "offboarding", "--of-batch", name]).ends(2);
    let _spelling = said("targetdatabase").says("did you mean TargetDatabase?");
    let _unknown = said("Nonsense").says("no kind of batch has such an attribute");
}

#[test]
fn a_batch_is_made_from_the_mailboxes_that_are_registered() {
    let site = Site::new(&[]);
    let server = |name: &str| format!("[[server]]\nname = \"{name}\"\nhost = \"{name}.example.org\"\n");
    site.write("config.toml", &format!("{}{}{}", site.config(), server("mail"), server("old")));
    let daemon = site.start();
    let place = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let secret = |name: &str, text: &str| {
        fs::write(place(name), text).expect("a file");
        fs::set_permissions(place(name), fs::Permissions::from_mode(0o600)).expect("a mode");
        place(name)
    };
    let (own, password) = (secret("own", SECRETS[0]), secret("password", SECRETS[1]));
    let add = |address: &str, more: &[&str]| {
        let added = site.json(&[&["mailbox", "add", address, "--password-file", &own], more].concat());
        added["mailbox"].as_str().expect("a number").to_owned()
    };
    let jana = add("jana@example.org", &["--server", "mail", "--user", "jana"]);
    let _eve = add("Eve@Example.org", &["--server", "mail"]);
    let _ann = add(
        "ann@other.org",
        &["--server", "mail", "--user", "ann", "--login", "user-root", "--root", "/u/ann", "--admin", "root"],
    );
    let twin = add("Jana@example.org", &["--server", "old"]);
    let addresses = |args: &[&str]| {
        let rows = site.rows(&[&["mailbox", "list"], args].concat());
        rows.iter().map(|row| row["address"].as_str().expect("an address").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&["--server", "mail"]), ["jana@example.org", "Eve@Example.org", "ann@other.org"]);
    assert_eq!(addresses(&["--address", "jana@*"]), ["jana@example.org", "Jana@example.org"]);
    assert_eq!(addresses(&["--address", "*@other.org", "--server", "old"]), [] as [String; 0]);
    assert_eq!(site.rows(&["mailbox", "list", "--limit", "1", "--address", "*@other.org"]).len(), 1);
    let _misspelt = site.ctl(&["mailbox", "list", "--server", "mial"]).ends(2).says("did you mean `mail`?");
    let _no_address = site.ctl(&["mailbox", "list", "--address", ""]).ends(2).says("the address is empty");

    let make = |into: &str, args: &[&str]| {
        let admin = ["--admin", "mailadmin", "--domain", "dom", "--password-file", &password];
        let into = place(into);
        let said = site.ctl(&[&["batch", "make", "--registered", "--into", &into], &admin[..], args].concat());
        for secret in SECRETS {
            assert!(!said.out.contains(secret) && !said.err.contains(secret), "{} says a password", said.asked);
        }
        said
    };
    let of_mail = ["--server", "mail"];
    for (form, names) in [
        ("exchange", ["dom/mailadmin/jana", "dom/mailadmin/Eve@Example.org", "dom/mailadmin/ann"]),
        ("dovecot", ["jana*mailadmin", "Eve@Example.org*mailadmin", "ann*mailadmin"]),
        ("mirapoint", ["#jana@dom#mailadmin#", "#Eve@Example.org#mailadmin#", "#ann@dom#mailadmin#"]),
        ("courier", ["mailadmin"; 3]),
    ] {
        let file = format!("{form}.csv");
        let made = make(&file, &[&["--form", form], &of_mail[..]].concat()).ends(0);
        assert!(made.err.contains("holds the password of the administrator in the clear"), "{}", made.err);
        let text = fs::read_to_string(place(&file)).expect("a batch");
        let rows: Vec<&str> = text.lines().skip(1).collect();
        let roots = [",/users/jana", ",/users/Eve@Example.org", ",/u/ann"]
            .map(|root| if form == "courier" { root } else { "" });
        for (number, address) in ["jana@example.org", "Eve@Example.org", "ann@other.org"].iter().enumerate() {
            assert_eq!(rows[number], format!("{address},{},{}{}", names[number], SECRETS[1], roots[number]));
        }
        assert_eq!((rows.len(), mode(Path::new(&place(&file)))), (3, 0o600));
        assert!(!text.contains(SECRETS[0]), "the daemon gives out no password");
        let _clean = batch(&["check", &place(&file), "--kind", "imap"]).ends(0);
    }

    let command = ["--name", "Wave1", "--endpoint", "imap-hq", "--output", "json"];
    let made =
        make("wave.csv", &[&["--form", "dovecot", "--address", "*@example.org"], &of_mail[..], &command].concat());
    let made = made.ends(0).json();
    assert_eq!(made["rows"], 2);
    let pasted = made["command"].as_str().expect("a command");
    assert!(
        pasted.starts_with("New-MigrationBatch -Name 'Wave1'") && pasted.contains("-SourceEndpoint 'imap-hq'"),
        "{pasted}"
    );
    for (kind, more) in [("staged", &[][..]), ("google", &[]), ("offboarding", &["--of-batch", "TargetDatabase"])] {
        let file = format!("{kind}.csv");
        let _made = site
            .ctl(&[&["batch", "make", "--registered", "--kind", kind, "--into", &place(&file)], &of_mail[..]].concat());
        let text = fs::read_to_string(place(&file)).expect("a batch");
        assert_eq!(text, "EmailAddress\r\njana@example.org\r\nEve@Example.org\r\nann@other.org\r\n");
        let _clean = batch(&[&["check", &place(&file), "--kind", kind], more].concat()).ends(0);
    }

    // What cannot be a whole batch leaves no file.
    let refused = |args: &[&str], why: &str| {
        let _refused = make("refused.csv", args).ends(2).says(why);
        assert!(!Path::new(&place("refused.csv")).exists());
    };
    refused(
        &["--form", "dovecot"],
        &format!("the registered mailbox {twin} has the same address as the registered mailbox {jana}"),
    );
    refused(&["--form", "dovecot", "--address", "nobody@*"], "no registered mailbox is meant");
    refused(&["--form", "dovecot", "--server", "mial"], "did you mean `mail`?");
    refused(&["--form", "own", "--server", "mail"], "users have passwords of their own");
    // Nobody is asked for a password, nor is one read, for what is refused anyway.
    let into = place("refused.csv");
    let asked = [
        "batch",
        "make",
        "--registered",
        "--kind",
        "imap",
        "--into",
        &into,
        "--admin",
        "root",
        "--password-file",
        "/none",
    ];
    let _own = site.ctl(&[&asked[..], &["--form", "own"]].concat()).ends(2).says("users have passwords of their own");
    let _name =
        site.ctl(&[&asked[..], &["--form", "mirapoint", "--domain", "a#b"]].concat()).ends(2).says("needs a domain");
    refused(&["--form", "dovecot", "--server", "mail", "--name", "Wave 1"], "letters, digits, - and _");
    let bare = add("bare", &["--server", "mail"]);
    refused(
        &["--form", "dovecot", "--server", "mail"],
        &format!("the registered mailbox {bare} has no valid SMTP address"),
    );
    let opened = site.rows(&["audit", "query", "--kind", "RecordsOpened"]);
    assert!(opened.iter().any(|row| row.to_string().contains("MailboxList")), "{opened:?}");
    let shown = site.json(&["mailbox", "show", &jana]);
    assert_eq!(
        (&shown["user"], &shown["root"], &shown["has_credential"]),
        (&json!("jana"), &json!(null), &json!(true))
    );
    daemon.stop();
}

#[test]
fn an_import_that_stops_in_the_middle_says_what_is_registered() {
    let site = Site::new(&[]);
    site.write("config.toml", &format!("{}[[server]]\nname = \"mail\"\nhost = \"mail.example.org\"\n", site.config()));
    let daemon = site.start();
    let _known = site.json(&["mailbox", "add", "U1000@example.org", "--server", "mail"]);
    let rows: String = (0..1_002).map(|n| format!("u{n}@example.org,u{n},{}\r\n", SECRETS[1])).collect();
    site.write("wave.csv", &format!("EmailAddress,UserName,Password\r\n{rows}"));
    let path = site.path("wave.csv");
    let import = ["import", path.to_str().expect("a path"), "--server", "mail"];
    let stopped = site.ctl(&[&["batch"], &import[..]].concat()).ends(2).says("mailbox 1 of the request differs");
    let stopped = stopped.says("the first 1000 mailboxes of").says("counts from there");
    assert!(!stopped.err.contains(SECRETS[1]) && path.exists(), "{}", stopped.err);
    assert_eq!(site.rows(&["mailbox", "list"]).len(), 1_001);
    daemon.stop();
}
