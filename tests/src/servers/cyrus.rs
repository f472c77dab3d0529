//! How Cyrus is set up: `mailadmin` and `cyradmin` are its administrators, mailboxes are made by them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use super::raw::{Raw, quoted};
use super::{ACCOUNTS, Account, Expunge, MAIL_ID, Server, packages};

/// The administrator of the harness.
const ADMIN: (&str, &str) = ("cyradmin", "cyrpw");

/// What `user3` may keep, in KiB.
const USER3_QUOTA: u32 = 1_024;

pub(super) fn configure(server: &Server) {
    for name in ["conf", "spool", "sieve"] {
        fs::create_dir(server.path(name)).expect("a directory");
    }
    for name in ["db", "log", "msg", "proc", "quota", "ptclient", "socket", "user", "backup"] {
        fs::create_dir(server.path("conf").join(name)).expect("a directory");
    }
    own(server.dir.path(), &["conf", "spool", "sieve", "run"]);
    for name in ["db", "log", "msg", "proc", "quota", "ptclient", "socket", "user", "backup"] {
        own(&server.path("conf"), &[name]);
    }
    let dir = server.dir.path().to_str().expect("a path that is text");
    let bin = packages("cyrus").join("usr/lib/cyrus/bin");
    let bin = bin.to_str().expect("a path that is text");
    let expunge = match server.setup.expunge {
        Expunge::Immediate => "immediate",
        Expunge::Delayed => "delayed",
    };
    let config = IMAPD.replace("@DIR@", dir).replace("@EXPUNGE@", expunge);
    fs::write(server.path("imapd.conf"), config).expect("a file");
    let services = SERVICES
        .replace("@DIR@", dir)
        .replace("@BIN@", bin)
        .replace("@IMAP@", &server.imap.number().to_string())
        .replace("@IMAPS@", &server.imaps.number().to_string());
    fs::write(server.path("cyrus.conf"), services).expect("a file");
}

fn own(dir: &Path, names: &[&str]) {
    for name in names {
        chown(dir.join(name), Some(MAIL_ID), Some(MAIL_ID)).expect("an owner");
    }
}

fn library_path() -> String {
    format!("export LD_LIBRARY_PATH={}/usr/lib/x86_64-linux-gnu", packages("cyrus").display())
}

pub(super) fn script(_server: &Server) -> String {
    let mut script = library_path();
    script.push_str("\nif [ ! -e \"$DIR/sasldb2\" ]; then\n");
    let admin = std::iter::once(ADMIN);
    for (name, password) in admin.chain(ACCOUNTS) {
        script.push_str(&password_command(name, password));
    }
    let master = packages("cyrus").join("usr/sbin/cyrmaster");
    script.push_str("fi\n");
    script.push_str(&format!(
        "{} -C \"$DIR/imapd.conf\" -M \"$DIR/cyrus.conf\" -p \"$DIR/run/master.pid\" -D </dev/null &",
        master.display()
    ));
    script
}

/// The realm is the name of the server.
fn password_command(name: &str, password: &str) -> String {
    format!(
        "printf %s '{password}' | saslpasswd2 -p -c -f \"$DIR/sasldb2\" -u localhost {name} && chown mail:mail \"$DIR/sasldb2\"\n"
    )
}

pub(super) fn make_mailboxes(server: &Server) {
    let mut admin = admin(server);
    for (name, _) in ACCOUNTS {
        admin.ok(&format!("CREATE user/{name}"));
    }
    admin.ok(&format!("SETQUOTA user/user3 (STORAGE {USER3_QUOTA})"));
}

pub(super) fn make_mailbox(server: &Server, account: &Account) {
    let Account { name, password } = account;
    let dir = server.dir.path().display();
    server.inside(&["sh", "-c", &format!("set -e; DIR={dir}; {}", password_command(name, password))]);
    admin(server).ok(&format!("CREATE user/{name}"));
}

fn admin(server: &Server) -> Raw {
    let mut raw = server.connect();
    raw.login(ADMIN.0, ADMIN.1);
    raw
}

/// A program of Cyrus, as the user of Cyrus.
fn run(server: &Server, program: &str, arguments: &str) -> String {
    let dir = server.dir.path().display();
    let path = packages("cyrus").join("usr/lib/cyrus/bin").join(program);
    let command = format!("{}; exec {} -C {dir}/imapd.conf {arguments}", library_path(), path.display());
    server.inside(&["setpriv", "--reuid=mail", "--regid=mail", "--clear-groups", "sh", "-c", &command])
}

pub(super) fn expire(server: &Server) {
    run(server, "cyr_expire", "-E 1 -X 0 -D 0");
}

/// Nothing but a new folder has another one.
pub(super) fn change_uid_validity(server: &Server, account: &Account, path: &[&str]) {
    assert!(!path.is_empty(), "the INBOX of Cyrus cannot be made anew");
    let mut owner = server.login(account);
    let (folder, aside) = (quoted(&server.folder(path)), quoted(&server.folder(&["aside"])));
    owner.ok(&format!("RENAME {folder} {aside}"));
    owner.ok(&format!("CREATE {folder}"));
    owner.ok(&format!("SELECT {aside}"));
    owner.ok(&format!("UID COPY 1:* {folder}"));
    owner.ok("UNSELECT");
    owner.ok(&format!("DELETE {aside}"));
}

const IMAPD: &str = "
configdirectory: @DIR@/conf
defaultpartition: default
partition-default: @DIR@/spool
sievedir: @DIR@/sieve
servername: localhost
cyrus_user: mail
cyrus_group: mail
admins: cyradmin mailadmin
allowplaintext: yes
unixhierarchysep: yes
altnamespace: no
virtdomains: off
createonpost: no
expunge_mode: @EXPUNGE@
delete_mode: immediate
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: @DIR@/sasldb2
sasl_mech_list: PLAIN LOGIN
tls_server_cert: @DIR@/tls/cert.pem
tls_server_key: @DIR@/tls/key.pem
tls_session_timeout: 0
lmtpsocket: @DIR@/run/lmtp
idlesocket: @DIR@/run/idle
notifysocket: @DIR@/run/notify
sync_log: no
failedloginpause: 0
";

const SERVICES: &str = r#"
START {
  recover cmd="@BIN@/ctl_cyrusdb -C @DIR@/imapd.conf -r"
}
SERVICES {
  imap  cmd="@BIN@/imapd -C @DIR@/imapd.conf" listen="127.0.0.1:@IMAP@" proto="tcp4" prefork=0
  imaps cmd="@BIN@/imapd -C @DIR@/imapd.conf -s" listen="127.0.0.1:@IMAPS@" proto="tcp4" prefork=0
}
EVENTS {
}
"#;
