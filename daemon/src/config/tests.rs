//! What the shipped file says, what is refused, and what a reload may change.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;

mod places;

const SHIPPED: &str = include_str!("../../../config.toml");
const LEAST: &str =
    "[store]\nstate_dir = \"state\"\nroot_key = { file = \"root.key\" }\n[policies]\ndir = \"policies\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/nowhere/etc/config.toml"), text.as_bytes())
}

fn with(more: &str) -> String {
    format!("{LEAST}{more}")
}

/// The lines and messages of everything that is wrong with a text.
fn problems(text: &str) -> Vec<(usize, String)> {
    let error = parse(text).expect_err("the text is wrong");
    error.problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
}

fn is_refused(text: &str, why: &str) {
    let found = problems(text);
    assert!(found.iter().any(|(_, message)| message.contains(why)), "{why:?} is not in {found:#?}");
}

#[test]
fn the_shipped_file_loads_as_it_stands() {
    let config = parse(SHIPPED).unwrap();
    assert_eq!(config.store.state_dir, Path::new("/var/lib/retentiond"));
    assert_eq!(config.policies.dir, Path::new("/nowhere/etc/policies"));
    assert_eq!(config.sources.len(), 1);
    assert_eq!(config.digest, Digest::of(SHIPPED.as_bytes()));
}

#[test]
fn what_the_shipped_file_calls_a_default_is_the_default() {
    let shipped = parse(SHIPPED).unwrap();
    let source = &shipped.sources[0];
    let least = parse(
        r#"
        store = { state_dir = "/var/lib/retentiond", root_key = { credential = "retentiond-root-key" } }
        policies = { dir = "policies" }
        [[source]]
        name = "crm"
        kind = "ocm"
        drop_dir = "/var/spool/retentiond/crm"
        "#,
    )
    .unwrap();
    assert_eq!(least.store, shipped.store);
    assert_eq!(least.control.socket, shipped.control.socket);
    assert_eq!(least.policies, shipped.policies);
    assert_eq!(
        (&least.export, &least.diagnostics, least.metrics),
        (&shipped.export, &shipped.diagnostics, shipped.metrics)
    );
    assert_eq!(
        least.sources[0],
        Source { keep_done: KeepDone::Forever, keep_rejected: KeepDone::Forever, ..source.clone() }
    );
    assert_eq!(least.control.roles, Roles::default(), "nobody has a role that nobody gave");
}

#[test]
fn every_commented_key_of_the_shipped_file_is_known() {
    let uncommented: String = SHIPPED
        .lines()
        .skip_while(|line| !line.starts_with("# [[source]]"))
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    let config = parse(&with(&uncommented)).unwrap();
    assert_eq!(
        config.sources[0].kind,
        SourceKind::Csv {
            mapping: "/nowhere/etc/mappings/newsletter.toml".into(),
            encoding: Some(TextEncoding::Windows1250),
            delimiter: Some(Delimiter::Semicolon),
        }
    );
    assert!(!format!("{config:?}").contains("newsletter@example.com"), "a mailbox is personal data");
}

#[test]
fn the_commented_activities_of_the_shipped_file_are_read() {
    let uncommented: String = SHIPPED
        .lines()
        .skip_while(|line| !line.starts_with("# [[activity]]"))
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    let source = "[[source]]\nname = \"crm\"\nkind = \"ocm\"\ndrop_dir = \"/d\"\n";
    let config = parse(&with(&format!("{source}{uncommented}"))).unwrap();
    assert_ne!(*config.sources[0].activities, ActivityRules::default());
    assert_eq!(Config::changes(&config, &parse(&with(source)).unwrap())[0].key, "source.crm");
}

#[test]
fn the_zone_of_an_export_is_named_or_unknown_and_that_of_other_files_is_the_policies() {
    let zone = |kind: &str| {
        let source = format!("[[source]]\nname = \"a\"\ndrop_dir = \"/d\"\n{kind}\n");
        let config =
            parse(&with(&source).replace("[policies]\n", "[policies]\ntimezone = \"Europe/Prague\"\n")).unwrap();
        config.sources[0].zone.as_ref().and_then(|zone| zone.iana_name().map(str::to_owned))
    };
    assert_eq!(zone("kind = \"ocm\""), None);
    assert_eq!(zone("kind = \"ocm\"\nzone = \"America/Denver\"").as_deref(), Some("America/Denver"));
    assert_eq!(zone("kind = \"csv\"\nmapping = \"m.toml\"").as_deref(), Some("Europe/Prague"));
}

#[test]
fn an_activity_names_a_source_a_kind_and_what_tells_its_class() {
    let source = "[[source]]\nname = \"crm\"\nkind = \"ocm\"\ndrop_dir = \"/d\"\n";
    let activity = |rest: &str| with(&format!("[[activity]]\nsource = \"crm\"\n{rest}{source}"));
    let post = |rest: &str| activity(&format!("kind = \"post\"\n{rest}"));
    assert!(parse(&post("class = \"post_written\"\n")).is_ok());
    assert!(parse(&post("field = \"custom.Type\"\nclasses = { Call = \"custom:site_visit\" }\n")).is_ok());
    is_refused(&with("[[activity]]\nkind = \"post\"\n"), "names the `source`");
    let misspelt =
        activity("kind = \"post\"\nclass = \"post_written\"\n").replace("source = \"crm\"", "source = \"crn\"");
    is_refused(&misspelt, "no `[[source]]` has this name; did you mean `crm`?");
    is_refused(&activity("class = \"post_written\"\n"), "names the `kind`");
    is_refused(&activity("kind = \"deal\"\nclass = \"post_written\"\n"), "only these count as activity");
    is_refused(&post("field = \"post_typ\"\nclasses = { Call = \"call_logged\" }\n"), "has no such field");
    is_refused(&post("field = \"post_type\"\nclasses = {}\n"), "at least one value");
    is_refused(&post("field = \"post_type\"\n"), "either `class`, or `field` with `classes`");
    is_refused(&post(""), "either `class`, or `field` with `classes`");
    is_refused(
        &post("field = \"post_type\"\nclasses = { Call = \"call_logged\", \"call \" = \"email_sent\" }\n"),
        "twice",
    );
    let wrong = problems(&post("field = \"post_type\"\n[activity.classes]\nCall = \"call_loged\"\n"));
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert_eq!(wrong[0].0, 11);
    assert!(wrong[0].1.contains("did you mean `call_logged`?") && wrong[0].1.contains("meeting_held"), "{wrong:#?}");
}

#[test]
fn every_problem_is_said_at_once_with_its_line() {
    let found = problems(
        "[store]\n\
         state_dri = \"state\"\n\
         cache_bytes = \"much\"\n\
         [control.roles]\n\
         operator = [\"ada\", \"not a user\"]\n\
         [policies]\n\
         dir = \"policies\"\n\
         timezone = \"Europe/Pragu\"\n\
         [[source]]\n\
         name = \"crm\"\n\
         kind = \"ocn\"\n\
         drop_dir = \"drop\"\n\
         keep_done = \"P1M\"\n\
         [exports]\n\
         zone = \"UTC\"\n",
    );
    let lines: BTreeSet<usize> = found.iter().map(|(line, _)| *line).collect();
    for line in [2, 3, 5, 8, 11, 13, 14] {
        assert!(lines.contains(&line), "line {line} is not named in {found:#?}");
    }
    assert_eq!(found.len(), 8, "what follows from another problem is not a problem of its own: {found:#?}");
    let all = format!("{found:#?}");
    for text in
        ["did you mean `state_dir`", "did you mean `ocm`", "did you mean `export`", "`store.root_key` is missing"]
    {
        assert!(all.contains(text), "{text:?} is not in {all}");
    }
}

#[test]
fn a_path_for_a_shell_and_a_number_that_is_none_are_refused_in_words() {
    for path in ["~", "~/state", "$HOME/state", "$STATE"] {
        is_refused(&LEAST.replace("\"state\"", &format!("\"{path}\"")), "write the whole path");
    }
    assert!(parse(&LEAST.replace("\"state\"", "\"/srv/~state$\"")).is_ok());
    for number in ["-1", "1.5", "\"16 MiB\""] {
        let text = LEAST.replace("[policies]", &format!("cache_bytes = {number}\n[policies]"));
        is_refused(&text, "expected a whole number of 0 or more");
    }
}

#[test]
fn a_problem_names_file_line_and_column() {
    let error = parse(&with("[metrics]\n  sevre = \"off\"\n")).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/etc/config.toml:7:3: unknown key `sevre`; did you mean `serve`?");
}

#[test]
fn the_root_key_comes_from_exactly_one_place_outside_the_data() {
    let key = |value: &str| LEAST.replace("{ file = \"root.key\" }", value);
    is_refused(&key("{}"), "exactly one place");
    is_refused(&key("{ file = \"a\", credential = \"b\" }"), "exactly one place");
    is_refused(&key("{ credential = \"../b\" }"), "credential's name");
    is_refused(&key("{ file = \"state/keys/root\" }"), "must lie outside");
    is_refused(&key("{ file = \"x/../state/root\" }"), "must lie outside");
    is_refused(&key("{ path = \"a\" }"), "unknown key `path`");
}

#[test]
fn a_credential_needs_systemd_and_a_file_does_not() {
    let without = Environment::default();
    let within = Environment { credentials_directory: Some("/run/credentials/x".into()), ..without.clone() };
    let credential = SecretPlace::Credential("k".to_owned());
    assert_eq!(credential.path(&within), Ok("/run/credentials/x/k".into()));
    assert!(credential.path(&without).is_err());
    assert_eq!(SecretPlace::File("/k".into()).path(&without), Ok("/k".into()));
}

#[test]
fn directories_that_would_feed_on_each_other_are_refused() {
    let source =
        |name: &str, dir: &str| format!("[[source]]\nname = \"{name}\"\nkind = \"ocm\"\ndrop_dir = \"{dir}\"\n");
    for dir in ["state", "state/drop", ".", "state/exports/x", "policies", "/", "drop/../state"] {
        is_refused(&with(&source("a", dir)), "must not lie inside one another");
    }
    is_refused(&with(&(source("a", "drop") + &source("b", "drop/b"))), "source `a`");
    let key_in_drop = with(&source("a", "drop")).replace("root.key", "drop/root.key");
    is_refused(&key_in_drop, "the file of the `store.root_key` must lie outside `drop_dir`");
    let list = "[[source]]\nname = \"list\"\nkind = \"csv\"\ndrop_dir = \"list\"\nmapping = \"drop/m.toml\"\n";
    is_refused(&with(&(source("a", "drop") + list)), "the file of the `mapping` must lie outside `drop_dir`");
    assert!(parse(&with(list)).is_ok());
    is_refused(&with(&(source("a", "drop") + &source("a", "other"))), "already called");
    is_refused(&LEAST.replace("state_dir", "exports_dir = \"state/bundles\"\nstate_dir"), "must lie outside");
    assert!(parse(&LEAST.replace("state_dir", "exports_dir = \"state/exports\"\nstate_dir")).is_ok());
    assert!(parse(&with(&(source("a", "drop") + &source("b", "drop2")))).is_ok(), "a longer name is not inside");
}

#[test]
fn a_folder_of_batches_lies_apart_from_all_others() {
    let server = |name: &str, dir: &str| {
        format!("[[server]]\nname = \"{name}\"\nhost = \"imap.example.org\"\nbatches = \"{dir}\"\n")
    };
    let source = "[[source]]\nname = \"a\"\nkind = \"ocm\"\ndrop_dir = \"drop\"\n";
    for dir in ["drop", "drop/done", "state", "policies", "."] {
        is_refused(
            &with(&(source.to_owned() + &server("mail", dir))),
            "`batches` of the server `mail` must lie outside",
        );
    }
    for dir in ["batches", "batches/in"] {
        is_refused(&with(&(server("mail", "batches") + &server("other", dir))), "`batches` of the server `other`");
    }
    assert!(parse(&with(&(source.to_owned() + &server("mail", "batches") + &server("other", "more")))).is_ok());
}

#[test]
fn two_names_of_one_directory_are_seen_to_be_one() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("state")).unwrap();
    std::os::unix::fs::symlink(scratch.path().join("state"), scratch.path().join("drop")).unwrap();
    let text = with("[[source]]\nname = \"a\"\nkind = \"ocm\"\ndrop_dir = \"drop/in\"\n");
    let error = Config::parse(&scratch.path().join("config.toml"), text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("must not lie inside one another"), "{error}");
}

#[test]
fn a_source_says_what_it_is() {
    let source = |more: &str| with(&format!("[[source]]\nname = \"a\"\ndrop_dir = \"drop\"\n{more}\n"));
    is_refused(&source(""), "no `kind`");
    is_refused(&source("kind = \"csv\""), "needs a `mapping`");
    is_refused(&source("kind = \"ocm\"\nmapping = \"m.toml\""), "needs no mapping");
    is_refused(
        &source("kind = \"xlsx\"\nmapping = \"m.toml\"\nencoding = \"utf-8\""),
        "belong to sources of the kind csv",
    );
    is_refused(&source("kind = \"ocm\"\nmax_bytes = 0"), "out of range");
    is_refused(&source("kind = \"ocm\"\nmax_bytes = -1"), "invalid value");
    for length in ["P1Y", "-P1D", "soon", "", "P99999W"] {
        let found = problems(&source(&format!("kind = \"ocm\"\nkeep_done = \"{length}\"")));
        assert_eq!(found.len(), 1, "{length}: {found:?}");
        assert_eq!(found[0].0, 10, "{length}: {found:?}");
    }
    let kept = |length: &str| {
        parse(&source(&format!("kind = \"ocm\"\nkeep_done = \"{length}\""))).unwrap().sources[0].keep_done
    };
    assert_eq!(kept("P2W"), KeepDone::For(Duration::from_secs(14 * 86_400)));
    assert_eq!(kept("forever"), KeepDone::Forever);
    is_refused(&with("[[source]]\nname = \"-a\"\n"), "a source's name");
}

#[test]
fn a_server_says_how_one_logs_in() {
    let server = |more: &str| with(&format!("[[server]]\nname = \"mail\"\nhost = \"imap.example.org\"\n{more}"));
    let least = parse(&server("")).unwrap();
    let least = &least.servers[0];
    assert_eq!((least.tls, least.port, least.max_connections), (MailTls::Implicit, 993, 8));
    assert_eq!((&least.tls_name, &least.admin), (&"imap.example.org".to_owned(), &None));
    let admin = "admin = { login = \"a\", file = \"/etc/pw\" }\n";
    let master =
        parse(&server(&format!("tls = \"starttls\"\nlogin = \"dovecot-master\"\nseparator = \"%\"\n{admin}"))).unwrap();
    let form = retention_core::mailbox::LoginForm::DovecotMaster { separator: '%' };
    assert_eq!((master.servers[0].port, &master.servers[0].form), (143, &form));
    for (text, why) in [
        ("tls = \"plain-loopback\"", "is for this machine itself"),
        ("tls = \"none\"", "unknown"),
        ("port = 0", "out of range"),
        ("port = 70000", "out of range"),
        ("max_connections = 0", "out of range"),
        ("server_name = \"a b\"", "not the name that a certificate can have"),
        ("login = \"master\"", "unknown login form"),
        ("login = \"authzid\"", "needs an admin"),
        ("login = \"exchange\"\nadmin = { login = \"a\", file = \"/etc/pw\" }", "needs the `domain`"),
        ("separator = \"*\"", "belongs to login"),
        ("domain = \"corp\"", "belongs to login"),
        ("login = \"dovecot-master\"\nseparator = \"ab\"\nadmin = { login = \"a\", file = \"/etc/pw\" }", "one sign"),
        ("admin = { login = \"\", file = \"/etc/pw\" }", "login"),
        ("admin = { login = \"a\" }", "password"),
        ("doveadm = { url = \"http://far.example.org\", file = \"/etc/k\" }", "doveadm needs a `url`"),
        (
            "doveadm = { url = \"http://far.example.org\", tls = \"plain-loopback\", file = \"/etc/k\" }",
            "doveadm needs a `url`",
        ),
        (
            "doveadm = { url = \"http://localhost:80@far.example.org\", tls = \"plain-loopback\", file = \"/etc/k\" }",
            "doveadm needs a `url`",
        ),
        ("doveadm = { url = \"http://127.0.0.1:8080\", file = \"/etc/k\" }", "add tls = \"plain-loopback\""),
        (
            "doveadm = { url = \"http://127.0.0.1:8080\", tls = \"implicit\", file = \"/etc/k\" }",
            "add tls = \"plain-loopback\"",
        ),
        (
            "doveadm = { url = \"http://[::1]\", tls = \"plain-loopback\", ca_file = \"/ca\", file = \"/etc/k\" }",
            "belongs to an https:// url",
        ),
        (
            "doveadm = { url = \"https://far.example.org\", tls = \"plain-loopback\", file = \"/etc/k\" }",
            "leave `tls` out",
        ),
        ("doveadm = { url = \"https://far.example.org\" }", "the key of doveadm"),
        ("[[server]]\nname = \"mail\"\nhost = \"b\"", "another server is already called"),
        ("[[source]]\nname = \"mail\"\nkind = \"ocm\"\ndrop_dir = \"/d\"", "a server is already called"),
        ("[[server]]\nhost = \"b\"", "no `name`"),
        ("[[server]]\nname = \"b\"", "no `host`"),
        ("[[server]]\nname = \"b\"\nhost = \"http://b/\"", "not the name or address"),
        ("[[server]]\nname = \"b\"\nhost = \"b:993\"", "not the name or address of a host; a port stands in `port`"),
    ] {
        is_refused(&server(text), why);
    }
}

#[test]
fn doveadm_is_reached_by_https_or_on_this_machine_when_that_is_said() {
    let doveadm = |url: &str, more: &str| {
        let server = "[[server]]\nname = \"mail\"\nhost = \"imap.example.org\"\nca_file = \"/etc/mail-ca.pem\"\n";
        let text = format!("{server}doveadm = {{ url = \"{url}\", {more}file = \"/etc/k\" }}\n");
        parse(&with(&text)).unwrap().servers[0].doveadm.clone().unwrap()
    };
    let far = doveadm("https://imap.example.org:8443/doveadm/v1", "ca_file = \"/etc/doveadm-ca.pem\", ");
    assert_eq!(far.ca_file.as_deref(), Some(std::path::Path::new("/etc/doveadm-ca.pem")));
    assert_eq!(doveadm("https://imap.example.org", "tls = \"implicit\", ").ca_file, None);
    for url in ["http://127.0.0.1:8080/doveadm/v1", "http://localhost", "http://[::1]:8080"] {
        assert_eq!(doveadm(url, "tls = \"plain-loopback\", ").url, url);
    }
}

#[test]
fn members_are_users_numbers_and_groups() {
    let roles = |member: &str| parse(&with(&format!("[control.roles]\nadmin = [\"{member}\"]\n")));
    let admin = |member: &str| roles(member).unwrap().control.roles.admin.remove(0);
    assert_eq!(admin("ada"), Member::User("ada".to_owned()));
    assert_eq!(admin("uid:0"), Member::Uid(0));
    assert_eq!(admin("@staff"), Member::Group("staff".to_owned()));
    for bad in ["", "@", "uid:", "uid:-1", "uid:+1", "uid:99999999999", "a b", "1000", "a:b"] {
        assert!(roles(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_socket_of_our_own_is_for_one_group_or_for_us_alone() {
    assert_eq!(parse(LEAST).unwrap().control.socket_group, None);
    let group = |name: &str| with(&format!("[control]\nsocket_group = \"{name}\"\n"));
    assert_eq!(parse(&group("staff")).unwrap().control.socket_group.as_deref(), Some("staff"));
    is_refused(&group("no such:group"), "not the name of a group");
    is_refused(&with(&format!("[control]\nsocket = \"{}\"\n", "x".repeat(108))), "at most 107 bytes");
}

#[test]
fn the_cache_leaves_room_for_the_views() {
    let store = |more: &str| LEAST.replace("state_dir", &format!("{more}\nstate_dir"));
    is_refused(&store("memory_max_bytes = 67108864\ncache_bytes = 67108864"), "more than half");
    is_refused(&store("cache_bytes = 1"), "out of range");
}

#[test]
fn every_changed_key_says_when_it_takes_effect() {
    let old = parse(SHIPPED).unwrap();
    assert_eq!(Config::changes(&old, &old), []);
    let changed = SHIPPED
        .replace("state_dir = \"/var/lib/retentiond\"", "state_dir = \"/var/lib/other\"")
        .replace("[\"root\"]", "[\"uid:1000\"]")
        .replace("P30D", "P31D")
        .replace("level = \"info\"", "level = \"debug\"");
    let new = parse(&changed).unwrap();
    let changes: Vec<(String, Reload)> = Config::changes(&old, &new).into_iter().map(|c| (c.key, c.reload)).collect();
    let expected = [
        ("store.state_dir", Reload::Restart),
        ("control.roles.admin", Reload::Live),
        ("source.crm", Reload::Live),
        ("diagnostics.level", Reload::Live),
    ];
    assert_eq!(changes, expected.map(|(key, reload)| (key.to_owned(), reload)));
    let running = old.reloaded(&new).unwrap();
    assert_eq!(running.store, old.store);
    assert_eq!(running.diagnostics.level, "debug");
    let left: Vec<Reload> = Config::changes(&running, &new).into_iter().map(|change| change.reload).collect();
    assert_eq!(left, [Reload::Restart], "after a reload only what needs a restart is left");
}

#[test]
fn copies_of_what_data_subjects_had_erased_are_encrypted_to_keys_of_age_from_the_next_one_on() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let private = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    let subjects = |keys: &str| with(&format!("[subjects]\nencrypt_to = [{keys}]\n"));
    let (old, new) = (parse(LEAST).unwrap(), parse(&subjects(&format!("\"{key}\""))).unwrap());
    assert!(old.subjects.encrypt_to.is_empty());
    assert_eq!(new.subjects.encrypt_to.iter().map(AgeRecipient::as_str).collect::<Vec<_>>(), [key]);
    let changes = Config::changes(&old, &new);
    assert_eq!(changes, [Change { key: "subjects.encrypt_to".to_owned(), reload: Reload::Live }]);
    assert_eq!(old.reloaded(&new).unwrap().subjects, new.subjects);

    is_refused(&subjects(""), "1 to 20 public keys");
    is_refused(&subjects(&vec![format!("\"{key}\""); 2].join(", ")), "names a key twice");
    is_refused(&subjects("\"ssh-ed25519 AAAA\""), "a key of SSH");
    is_refused(&subjects(&format!("\"{private}\"")), "has a private key of age");
    is_refused(&with(&format!("[subjects]\nrecipients = [\"{key}\"]\n")), "recipients");
    let said = format!("{:?}", problems(&subjects(&format!("\"{private}\""))));
    assert!(!said.contains("GFPYYSJZ"), "{said}");
}

#[test]
fn a_reload_cannot_bring_a_drop_folder_into_the_running_store() {
    let old = parse(LEAST).unwrap();
    let moved = LEAST.replace("\"state\"", "\"other\"");
    let new = parse(&format!("{moved}[[source]]\nname = \"a\"\nkind = \"ocm\"\ndrop_dir = \"state\"\n")).unwrap();
    assert!(old.reloaded(&new).unwrap_err().to_string().contains("restart the daemon"));
}

#[test]
fn the_file_itself_must_be_readable_text_of_a_sane_size() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("config.toml");
    assert!(Config::load(&path).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, vec![b' '; usize::try_from(CONFIG_BYTES_MAX).unwrap() + 1]).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("larger than"));
    std::fs::write(&path, b"[store]\nstate_dir = \"\xff\"").unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("not UTF-8"));
    std::fs::write(&path, SHIPPED).unwrap();
    assert_eq!(Config::load(&path).unwrap().policies.dir, scratch.path().join("policies"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_at_least_one_problem(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = Config::parse(Path::new("/c.toml"), &bytes) {
            prop_assert!(!error.problems.is_empty());
        }
    }

    #[test]
    fn a_damaged_shipped_file_never_panics_and_says_a_bounded_number_of_problems(
        at in 0..SHIPPED.len(), len in 0..40usize, put in "[\\[\\]={}\"a-z0-9\n.#é]{0,12}",
    ) {
        let mut bytes = SHIPPED.as_bytes().to_vec();
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, put.bytes());
        if let Err(error) = Config::parse(Path::new("/c.toml"), &bytes) {
            prop_assert!((1..=100).contains(&error.problems.len()));
        }
    }
}

#[test]
fn backups_have_two_places_apart_and_copies_of_keys_end() {
    let config =
        parse(&with("[backup]\ndir = \"copies\"\nkeys_dir = \"/mnt/keys\"\nerasures = \"/far/erasures\"\n")).unwrap();
    let backup = config.backup.unwrap();
    assert_eq!(
        (backup.dir.as_path(), backup.keys_dir.as_path()),
        (Path::new("/nowhere/etc/copies"), Path::new("/mnt/keys"))
    );
    assert_eq!(backup.keep_keys, Duration::from_secs(14 * 86_400));
    let backup = |lines: &str| with(&format!("[backup]\n{lines}\n"));
    is_refused(&backup("dir = \"a\""), "`backup.keys_dir` is missing");
    is_refused(&backup("dir = \"a\"\nkeys_dir = \"a/keys\""), "must not lie inside one another");
    is_refused(&backup("dir = \"state/a\"\nkeys_dir = \"b\""), "`backup.dir` must lie outside");
    is_refused(&backup("dir = \"a\"\nkeys_dir = \"b\"\nkeep_keys = \"forever\""), "give them an end");
    is_refused(&backup("dir = \"a\"\nkeys_dir = \"b\"\nerasures = \"state/x\""), "`backup.erasures` must lie outside");
    let both = "dir = \"a\"\nkeys_dir = \"b\"\n";
    is_refused(&backup(&format!("{both}schedule = \"30 25 * * *\"")), "hour");
    is_refused(&backup(&format!("{both}recipients = [\"ssh-ed25519 AAAA\"]")), "no public key of age");
    is_refused(&backup(&format!("{both}recipients = []")), "this names nobody");
    is_refused(&backup("dir = \"a\"\nkeys_dir = \"b\"\nkeep = 7"), "keep");
}

#[test]
fn a_place_for_checkpoints_is_exactly_one_thing() {
    let places = |list: &str| with(&format!("[audit]\npublish = [{list}]\n"));
    let config = parse(&places("{ file = \"told\" }, { command = [\"/bin/x\", \"y\"] }, { journal = true }, { url = \"https://x.example/a\", ca_file = \"ca.pem\" }")).unwrap();
    assert_eq!(
        config.publish,
        [
            PublishTo::File("/nowhere/etc/told".into()),
            PublishTo::Command("/bin/x".to_owned(), vec!["y".to_owned()]),
            PublishTo::Journal,
            PublishTo::Web(Redacted("https://x.example/a".to_owned()), Some("/nowhere/etc/ca.pem".into())),
        ]
    );
    for wrong in
        ["{}", "{ file = \"a\", journal = true }", "{ command = [\"x\"] }", "{ command = [] }", "{ journal = false }"]
    {
        is_refused(&places(wrong), "a place is exactly one of");
    }
    is_refused(&places("{ url = \"http://x.example/a\" }"), "a URL with https://");
    is_refused(&places("{ file = \"a\", url = \"https://x.example/a\" }"), "a place is exactly one of");
    is_refused(&places("{ file = \"a\", ca_file = \"ca.pem\" }"), "`ca_file` belongs to");
}

#[test]
fn every_commented_channel_of_the_shipped_file_is_one() {
    let block = SHIPPED.lines().skip_while(|line| *line != "# [[notify]]").take_while(|line| line.starts_with('#'));
    let uncommented: String = block.map(|line| format!("{}\n", &line[2..])).collect();
    let channels = parse(&with(&uncommented)).unwrap().notify;
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["dpo", "tickets", "page", "adviser"]);
    assert!(!format!("{channels:?}").contains("dpo@"), "an address is personal data");
}

fn notify(more: &str) -> String {
    with(&format!("[[notify]]\nname = \"dpo\"\n{more}"))
}

#[test]
fn a_channel_is_mail_a_webhook_or_a_program_and_says_what_it_wants_to_know() {
    use retention_core::event::notice::Thing;
    let one = |text: &str| parse(&notify(text)).unwrap().notify.remove(0);
    let page = one(
        "kind = \"program\"\ncommand = [\"/usr/local/bin/page\", \"dpo\"]\nthings = [\"run_done\", \"saga_stuck\"]\nbefore = [\"P14D\", \"P1W\"]",
    );
    assert_eq!(page.kind, NotifyKind::Program("/usr/local/bin/page".to_owned(), vec!["dpo".to_owned()]));
    assert_eq!((page.things, page.before), (vec![Thing::SagaStuck, Thing::RunDone], vec![14, 7]));
    let hook = one("kind = \"webhook\"\nurl = \"https://hooks.example.org/secret\"\nkey = { credential = \"hook\" }");
    let for_people: Vec<Thing> = Thing::ALL.iter().copied().filter(|thing| !thing.is_for_recipients()).collect();
    assert_eq!((hook.things, hook.before, hook.recipient), (for_people, vec![14], None));
    assert!(!format!("{:?}", hook.kind).contains("secret"), "a URL may be one");
    let mail =
        "kind = \"mail\"\nhost = \"mail.example.org\"\nfrom = \"retentiond@example.org\"\nto = [\"dpo@example.org\"]\n";
    for (tls, port) in [("", 465), ("tls = \"starttls\"", 587)] {
        let NotifyKind::Mail(mail) = one(&format!("{mail}{tls}")).kind else { panic!("it is mail") };
        assert_eq!((mail.port, mail.tls_name.as_str(), mail.login), (port, "mail.example.org", None));
    }
    for (text, why) in [
        ("kind = \"pigeon\"", "unknown value `pigeon`"),
        ("kind = \"program\"", "no `command`"),
        ("kind = \"program\"\ncommand = [\"page\"]", "absolute path"),
        ("kind = \"program\"\ncommand = [\"/page\"]\nurl = \"https://x\"", "belongs to a program"),
        ("kind = \"webhook\"\nurl = \"http://hooks.example.org/\"\nkey = { credential = \"hook\" }", "https://"),
        ("kind = \"webhook\"\nurl = \"https://hooks.example.org/\"", "no `key`"),
        ("kind = \"mail\"\nhost = \"mail.example.org\"\nfrom = \"retentiond@example.org\"", "no `to`"),
        (
            "kind = \"mail\"\nhost = \"mail.example.org\"\nfrom = \"Ada\"\nto = [\"dpo@example.org\"]",
            "not an e-mail address",
        ),
        ("kind = \"program\"\ncommand = [\"/page\"]\nbefore = [\"PT36H\"]", "whole days"),
        ("kind = \"program\"\ncommand = [\"/page\"]\nthings = [\"weather\"]", "unknown value `weather`"),
        ("kind = \"program\"\ncommand = [\"/page\"]\nthings = [\"recipient_to_tell\"]", "needs `recipient`"),
        ("kind = \"program\"\ncommand = [\"/page\"]\nrecipient = \" \"", "a recipient has the name"),
        ("kind = \"program\"\ncommand = [\"/page\"]\nrecipient = \"x\"\nthings = [\"run_done\"]", "nothing else"),
    ] {
        is_refused(&notify(text), why);
    }
    let adviser = "kind = \"program\"\ncommand = [\"/page\"]\nrecipient = \" Ada Quill \"\n";
    let channel = one(adviser);
    assert_eq!(channel.things, [Thing::RecipientToTell]);
    assert!(channel.recipient.as_ref().is_some_and(|recipient| recipient.reveal() == "Ada Quill"));
    assert!(!format!("{channel:?}").contains("Quill"), "a recipient may be a person");
    let twice = format!("{}[[notify]]\nname = \"other\"\n{adviser}", notify(adviser));
    is_refused(&twice, "already for this recipient");
    is_refused(&notify(&format!("{mail}tls = \"plain-loopback\"")), "this machine itself");
    is_refused(&format!("{}{}", notify(mail), notify(mail).replace(LEAST, "")), "already called `dpo`");
}

#[test]
fn a_log_that_is_told_of_events_is_on_this_machine() {
    let log = |text: &str| with(&format!("[[audit.forward]]\n{text}\n"));
    let config = parse(&log("name = \"siem\"\nkind = \"syslog\"\ntcp = \"127.0.0.1:601\"\nfrom = \"beginning\"\n\
         [[audit.forward]]\nname = \"journal\"\nkind = \"journald\"\n\
         [[audit.forward]]\nname = \"local\"\nkind = \"syslog\"\nsocket = \"log.sock\""));
    let of = |name: &str, from, to| ForwardTo { name: name.to_owned(), from, to };
    assert_eq!(
        config.unwrap().forward,
        [
            of("siem", ForwardFrom::Beginning, ForwardPlace::SyslogTcp("127.0.0.1:601".to_owned())),
            of("journal", ForwardFrom::Now, ForwardPlace::Journald("/run/systemd/journal/socket".into())),
            of("local", ForwardFrom::Now, ForwardPlace::SyslogSocket("/nowhere/etc/log.sock".into())),
        ]
    );
    for (wrong, why) in [
        ("kind = \"syslog\"", "this log has no `name`"),
        ("name = \"a\"", "this log has no `kind`"),
        ("name = \"../a\"\nkind = \"syslog\"", "a log's name has letters"),
        ("name = \"a.tmp\"\nkind = \"syslog\"", "does not end in .tmp"),
        ("name = \"a\"\nkind = \"journald\"\ntcp = \"127.0.0.1:1\"", "not over TCP"),
        ("name = \"a\"\nkind = \"syslog\"\ntcp = \"127.0.0.1:1\"\nsocket = \"/dev/log\"", "in one way"),
        ("name = \"a\"\nkind = \"syslog\"\ntcp = \"siem.example.org:601\"", "nothing protects these messages"),
        ("name = \"a\"\nkind = \"syslog\"\ntcp = \"127.0.0.1\"", "nothing protects these messages"),
        ("name = \"a\"\nkind = \"syslog\"\n[[audit.forward]]\nname = \"a\"\nkind = \"journald\"", "already called `a`"),
    ] {
        is_refused(&log(wrong), why);
    }
}

#[test]
fn a_log_is_called_like_a_url_without_its_scheme() {
    let origin = |text: &str| with(&format!("[audit]\norigin = \"{text}\"\n"));
    assert_eq!(parse(&with("")).unwrap().origin, None);
    let config = parse(&origin("logs.example.org:8443/retention")).unwrap();
    assert_eq!(config.origin.as_deref(), Some("logs.example.org:8443/retention"));
    let long = "a".repeat(129);
    for wrong in ["", "https://logs.example.org/a", "a b", "a+b", "é", "/a", long.as_str()] {
        is_refused(&origin(wrong), "like a URL without its scheme");
    }
    let other = parse(&origin("logs.example.org/other")).unwrap();
    let changes = Config::changes(&config, &other);
    assert_eq!((changes.len(), changes[0].key.as_str(), changes[0].reload), (1, "audit.origin", Reload::Restart));
    assert_eq!(config.reloaded(&other).unwrap().origin, config.origin);
}

#[test]
fn a_witness_has_a_name_a_key_of_its_own_and_a_url_that_is_protected() {
    /// Of witnesses whose secrets nobody has.
    const ONE: &str = "witness.example.org/retention+7ef05384+BAZmKnndOtJy0FQbVN2DAwt9WlAFZjTCsYcUD1WiLiGM";
    const SAME: &str = "other+40a4eff2+BAZmKnndOtJy0FQbVN2DAwt9WlAFZjTCsYcUD1WiLiGM";
    const OF_A_LOG: &str = "log+02c63a9d+AQZmKnndOtJy0FQbVN2DAwt9WlAFZjTCsYcUD1WiLiGM";
    let witness = |text: &str| with(&format!("[[audit.witness]]\n{text}\n"));
    let whole = format!("name = \"auditor\"\nurl = \"https://w.example/a\"\nkey = \"{ONE}\"\n");
    let config = parse(&witness(&format!("{whole}ca_file = \"ca.pem\""))).unwrap();
    let read = &config.witnesses[0];
    assert_eq!(
        (read.name.as_str(), read.url.reveal().as_str(), read.key.text()),
        ("auditor", "https://w.example/a", ONE)
    );
    assert_eq!(
        (read.key.name(), read.ca_file.as_deref()),
        ("witness.example.org/retention", Some("/nowhere/etc/ca.pem".as_ref()))
    );
    assert!(!format!("{read:?}").contains("w.example/a"), "the rest of a URL may be a secret");
    assert_eq!(parse(&with("")).unwrap().witnesses, []);
    let again = |name: &str, key: &str| {
        format!("{whole}[[audit.witness]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:7\"\nkey = \"{key}\"")
    };
    for (wrong, why) in [
        (whole.replace("name = \"auditor\"", ""), "this witness has no `name`"),
        (whole.replace("name = \"auditor\"", "name = \"a b\""), "a witness's name has letters"),
        (whole.replace("url = ", "# url = "), "this witness has no `url`"),
        (whole.replace("https://", "http://"), "a witness has a URL with https://"),
        (whole.replace("key = ", "# key = "), "this witness has no `key`"),
        (whole.replace(ONE, "what"), "this is no verifier key of a witness"),
        (whole.replace(ONE, OF_A_LOG), "this key signs logs and not cosignatures"),
        (whole.replace(ONE, &ONE.replace("7ef05384", "7ef05385")), "it does not have the number that it says"),
        (again("auditor", SAME), "already called `auditor`"),
        (again("other", SAME), "the witness `auditor` has the same key"),
    ] {
        is_refused(&witness(&wrong), why);
    }
}
