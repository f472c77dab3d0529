//! The real daemon and the real tool on the three real servers: a mailbox is registered, checked, looked at, purged by
//! an approved run, opened to somebody for a time, closed again, and removed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use retention_tests::daemon::{Daemon, Person, SECOND_UID, Site, has_second_person};
use retention_tests::disk::files_with;
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::{Account, Kind, Server};
use serde_json::{Value, json};

/// Who is given access.
const HELPER: &str = "carol";

/// A name to which nothing is given.
const UNSAFE: &str = "a*b";

const MAIL_POLICY: &str = r#"schema = 1
[policy]
id = "old-mail"
title = "Old mail"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
data_class = "mail"
state = "enforce"
[scope]
kind = "message"
match_all = true
[retention]
period = "P1Y"
start = "received"
timezone = "UTC"
[schedule]
cron = "on_demand"
[limits]
max_percent = 100
[export]
formats = ["jsonl", "csv", "eml"]
[action]
kind = "purge"
quarantine = "P0D"
[approval]
count = 1
"#;

fn access_policy() -> String {
    format!(
        "schema = 1\n[policy]\nid = \"access\"\ntitle = \"Access\"\nowner = \"dpo@example.org\"\n\
         legal_basis = \"GDPR 32\"\ndata_class = \"access\"\nstate = \"enforce\"\n\
         [access]\nright = \"full_access\"\nprincipals = [\"{HELPER}\", \"{UNSAFE}\"]\nmax_duration = \"PT1H\"\nticket = \"required\"\n"
    )
}

/// How an admin gets into the mailboxes of a server.
pub(super) fn server_block(server: &Server, password: &str) -> String {
    let kind = server.kind();
    let (login, admin) = match kind {
        Kind::Dovecot => ("dovecot-master", "admin"),
        Kind::Cyrus => ("authzid", "mailadmin"),
        Kind::Courier => ("user-root", "mailadmin"),
    };
    format!(
        "[[server]]\nname = \"{kind}\"\nhost = \"127.0.0.1\"\nport = {}\nca_file = \"{}\"\nserver_name = \"localhost\"\n\
         login = \"{login}\"\nadmin = {{ login = \"{admin}\", file = \"{password}\" }}\n",
        server.imaps_port(),
        server.ca_file().display(),
    )
}

pub(super) fn private(site: &Site, name: &str, text: &str) {
    site.write(name, text);
    fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn site_of(server: &Server) -> Site {
    let site = Site::new(&[("old-mail", MAIL_POLICY), ("access", &access_policy())]);
    let config = format!("{}{}", site.config(), server_block(server, "admin.pw"));
    site.write("config.toml", &config);
    let admin = if server.kind() == Kind::Dovecot { "admin" } else { "mailadmin" };
    private(&site, "admin.pw", &format!("{}\n", server.account(admin).password));
    site
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

/// Registers a mailbox, and returns its number.
pub(super) fn added(site: &Site, server: &Server, account: &Account) -> String {
    let address = format!("{}@example.org", account.name);
    let (kind, root) = (server.kind().to_string(), server.folder_of(account, &[]));
    let mut args = vec!["mailbox", "add", &address, "--server", &kind, "--user", &account.name];
    if server.kind() == Kind::Courier {
        args.extend(["--root", &root]);
    }
    text(&site.json(&args), "mailbox").to_owned()
}

fn put_letters(server: &Server, account: &Account) {
    let mut raw = server.login(account);
    for (number, year) in [(1, 2019), (2, 2020), (3, 2026)] {
        let letter = letter(number, &date(year, 3, 4), 2_000);
        assert!(raw.append("INBOX", &[], &letter.date, &letter.body) > 0);
    }
}

fn wait_for_state(site: &Site, daemon: &Daemon<'_>, grant: &str, state: &str) -> Value {
    daemon.until(&format!("{grant} is {state}"), || {
        let shown = site.json(&["grant", "show", grant]);
        (shown["state"] == state).then_some(shown)
    })
}

#[test]
fn a_mailbox_is_looked_after_from_its_registration_to_its_removal() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        put_letters(server, &account);
        let site = site_of(server);
        let daemon = site.start();
        daemon.until("the policies are active", || (site.rows(&["policy", "list"]).len() == 2).then_some(()));
        let mailbox = added(&site, server, &account);
        let checked = site.rows(&["mailbox", "check", &mailbox]);
        let codes: Vec<&str> = checked.iter().map(|row| text(row, "code")).collect();
        for code in ["login-works", "owner-proven", "folders-listed", "expunge-exact", "rights-suffice"] {
            assert!(codes.contains(&code), "{kind}: {code} is not in {checked:?}");
        }
        rights_are_checked_in_every_folder(&site, server, &account, &mailbox);
        messages_are_purged(&site, &daemon, server, &account, &mailbox);
        access_is_given_and_taken_back(&site, &daemon, server, &account, &mailbox);
        let removed = site.json(&["mailbox", "remove", &mailbox, "--reason", "moved"]);
        assert_eq!(removed["mailbox"], mailbox.as_str());
        assert_eq!(site.rows(&["mailbox", "list"]), [] as [Value; 0]);
        let _gone = site.ctl(&["mailbox", "check", &mailbox]).ends(2).says("is not a registered mailbox");
        let _intact = site.ctl(&["store", "verify"]).ends(0);
        daemon.stop();
        let log = site.diagnostics();
        assert!(!log.contains(&account.name), "{kind}: the diagnostics name a person\n{log}");
        assert!(!log.contains(&server.account("mailadmin").password), "{kind}: the diagnostics hold a password");
    }
}

fn rights_are_checked_in_every_folder(site: &Site, server: &Server, account: &Account, mailbox: &str) {
    // Courier lets nobody take rights from an owner or an administrator.
    if server.kind() == Kind::Courier {
        return;
    }
    let mut raw = server.login(account);
    let folder = server.folder(&["Closed"]);
    raw.ok(&format!("CREATE {folder}"));
    raw.ok(&format!("SETACL {folder} {} lrsa", account.name));
    let _lacking = site.ctl(&["mailbox", "check", mailbox]).ends(78).says("rights-missing-in-folders");
    raw.ok(&format!("SETACL {folder} {} lrswipkxtea", account.name));
    let _suffice = site.ctl(&["mailbox", "check", mailbox]).ends(0);
    raw.ok(&format!("DELETE {folder}"));
}

fn messages_are_purged(site: &Site, daemon: &Daemon<'_>, server: &Server, account: &Account, mailbox: &str) {
    let kind = server.kind();
    let _asked = site.json(&["mailbox", "scan", mailbox]);
    daemon.until("the mailbox was looked at", || {
        let shown = site.json(&["mailbox", "show", mailbox]);
        assert_eq!(shown["failed"], Value::Null, "{kind}: {shown}");
        (shown["messages"] == 3).then_some(())
    });
    assert_eq!(site.rows(&["entity", "list", "--kind", "message", "--mailbox", mailbox]).len(), 3, "{kind}");
    let plan = site.json(&["plan", "make", "old-mail", "--wait"]);
    assert_eq!(plan["frozen"]["items"], 2, "{kind}: {plan}");
    if !has_second_person() {
        return;
    }
    let plan = text(&plan, "plan");
    let _approved = site.ctl_as(Person::Second, &["plan", "approve", plan]).ends(0);
    let watched = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
    let last = watched.last().expect("a row");
    assert_eq!((&last["state"], &last["purged"]), (&json!("completed"), &json!(2)), "{kind}: {last}");
    let left = &server.truth(account)["INBOX"].messages;
    assert_eq!(left.len(), 1, "{kind}: only the young message is left");
    let bundle = site.rows(&["export", "list"]).remove(0);
    let _intact = site.ctl(&["export", "verify", text(&bundle, "manifest")]).ends(0);
}

fn access_is_given_and_taken_back(site: &Site, daemon: &Daemon<'_>, server: &Server, account: &Account, mailbox: &str) {
    let kind = server.kind();
    let give = |to: &'static str, more: &'static [&'static str]| {
        let fixed = ["grant", "give", mailbox, "--to", to, "--reason", "restore"];
        site.ctl(&[&fixed[..], more, &["--output", "json"]].concat())
    };
    let _nobody = give("mallory", &["--ticket", "T-1"]).ends(77).says("no enforced policy with [access]");
    let _ticket = give(HELPER, &[]).ends(2).says("wants a ticket");
    let _long = give(HELPER, &["--ticket", "T-1", "--for", "PT2H"]).ends(2).says("60 minutes at most");
    let asked = give(HELPER, &["--ticket", "T-1", "--for", "PT30M"]).ends(0).json();
    let grant = text(&asked, "grant").to_owned();
    let _own = site.ctl(&["grant", "approve", &grant]).ends(77).says("may not approve it");
    assert_eq!(server.rights(account)["INBOX"].get(HELPER), None, "{kind}: nothing is given before the approval");
    if !has_second_person() {
        let _withdrawn = site.json(&["grant", "revoke", &grant, "--reason", "done"]);
        wait_for_state(site, daemon, &grant, "withdrawn");
        return;
    }
    let _approved = site.ctl_as(Person::Second, &["grant", "approve", &grant]).ends(0);
    let active = wait_for_state(site, daemon, &grant, "active");
    assert_eq!((&active["to"], &active["ticket"]), (&json!(HELPER), &json!("T-1")), "{active}");
    let by = format!("uid:{SECOND_UID}");
    assert_eq!(active["approvals"][0]["by"], by.as_str(), "{active}");
    assert!(server.rights(account)["INBOX"].contains_key(HELPER), "{kind}: it is given");
    let _asked = site.json(&["grant", "reconcile"]);
    daemon.until("the grant is seen from outside", || {
        let rows = site.rows(&["mailbox", "permissions", mailbox]);
        let theirs = rows.iter().find(|row| row["identifier"] == HELPER)?;
        assert_eq!((&theirs["grant"], &theirs["full_access"]), (&json!(grant), &json!(true)), "{kind}: {theirs}");
        Some(())
    });
    let _held = site.ctl(&["mailbox", "remove", mailbox, "--reason", "moved"]).ends(2).says("is not over");
    // The access would be looked for in another mailbox, and stay in this one.
    let (address, server_name) = (format!("{}@example.org", account.name), kind.to_string());
    let _led_elsewhere = site
        .ctl(&["mailbox", "add", &address, "--server", &server_name, "--user", "user2"])
        .ends(2)
        .says("would lead to another mailbox");
    // So it would on another machine: such a file is not taken in, and the access is taken back here.
    let config = fs::read_to_string(site.path("config.toml")).expect("a file");
    site.write("config.toml", &config.replace("host = \"127.0.0.1\"", "host = \"127.0.0.2\""));
    let kept_back = "ended where it was begun";
    let _told = site.ctl(&["status", "--output", "json"]).ends(10).says("config_invalid").says(kept_back);
    let _told = site.ctl(&["config", "check", "--output", "jsonl"]).ends(0).says(kept_back);
    let _shorter = site
        .ctl(&["grant", "renew", &grant, "--for", "PT10M", "--reason", "not done"])
        .ends(2)
        .says("would not last longer");
    let _renewed = site.json(&["grant", "renew", &grant, "--for", "PT45M", "--reason", "not done"]);
    let _revoked = site.json(&["grant", "revoke", &grant, "--reason", "done"]);
    let over = wait_for_state(site, daemon, &grant, "revoked");
    site.write("config.toml", &config);
    assert_eq!(over["receipts"].as_array().map(Vec::len), Some(4), "{kind}: {over}");
    assert_eq!(server.rights(account)["INBOX"].get(HELPER), None, "{kind}: nothing is left");
    let _over = site.ctl(&["grant", "revoke", &grant, "--reason", "again"]).ends(2).says("it is over");
    let asked = give(UNSAFE, &["--ticket", "T-2"]).ends(0).json();
    let grant = text(&asked, "grant").to_owned();
    let _approved = site.ctl_as(Person::Second, &["grant", "approve", &grant]).ends(0);
    let over = wait_for_state(site, daemon, &grant, "not_given");
    assert_eq!(over["failed"], "mail-name-unsafe", "{kind}: {over}");
}

#[test]
fn a_migration_batch_is_imported_once_and_its_file_is_destroyed() {
    let server = Server::shared(Kind::Dovecot);
    let accounts = [server.mailbox(), server.mailbox()];
    let site = site_of(server);
    let daemon = site.start();
    let password = server.account("admin").password;
    let rows: String =
        accounts.iter().map(|account| format!("{0}@example.org,{0}*admin,{password}\r\n", account.name)).collect();
    private(&site, "users.csv", &format!("EmailAddress,UserName,Password\r\n{rows}nobody,a*b*c,\r\n"));
    let path = site.path("users.csv");
    let file = path.to_str().expect("a path that is text");
    let bad = site.ctl(&["mailbox", "import", file, "--server", "dovecot", "--output", "jsonl"]).ends(78);
    let rows_of = |severity: &str| bad.rows().into_iter().filter(|row| row["severity"] == severity).collect::<Vec<_>>();
    assert!(!rows_of("error").is_empty() && rows_of("error").iter().all(|row| row["line"] == 4), "{bad:?}");
    assert!(path.exists() && site.rows(&["mailbox", "list"]).is_empty(), "nothing was registered");

    private(&site, "users.csv", &format!("EmailAddress,UserName,Password\r\n{rows}"));
    let _nowhere = site.ctl(&["mailbox", "import", file, "--server", "nowhere"]).ends(2).says("no [[server]]");
    assert!(path.exists(), "it is not destroyed before everything is registered");
    let link = site.path("link.csv");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let link = link.to_str().expect("a path that is text");
    let _link = site.ctl(&["mailbox", "import", link, "--server", "dovecot"]).ends(2).says("nothing was registered");
    private(&site, "users.xlsx", "PK\u{3}\u{4}");
    let workbook = site.path("users.xlsx");
    let workbook = workbook.to_str().expect("a path that is text");
    let _workbook =
        site.ctl(&["batch", "import", workbook, "--server", "dovecot"]).ends(78).says("save it as CSV UTF-8");
    assert!(path.exists() && site.rows(&["mailbox", "list"]).is_empty(), "nothing was registered");
    let imported = site.json(&["mailbox", "import", file, "--server", "dovecot"]);
    assert_eq!((&imported["mailboxes"], &imported["file_destroyed"]), (&json!(2), &json!(true)), "{imported}");
    assert!(!path.exists());
    let mailboxes = site.rows(&["mailbox", "list"]);
    assert_eq!(mailboxes.len(), 2);
    for row in &mailboxes {
        assert_eq!(row["has_credential"], true);
        let _works = site.ctl(&["mailbox", "check", text(row, "mailbox")]).ends(0);
    }
    let told = site.rows(&["audit", "query", "--kind", "MigrationBatchImported"]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["actor"], format!("uid:{}", site.uid()).as_str());
    daemon.stop();
    let state = site.path("state");
    let found = files_with(&state, password.as_bytes());
    assert_eq!(found, [] as [std::path::PathBuf; 0], "a password lies in the store in the clear");
}
