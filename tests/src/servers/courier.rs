//! How Courier is set up. Its paths are compiled in, so it runs in a private mount namespace where its packages lie
//! over `/usr` and its configuration over `/etc`: the machine's own are untouched.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use super::{ACCOUNTS, Account, MAIL_ID, Server, packages};

/// A user that `couriertls` looks up by name.
const COURIER_ID: u32 = 990;

pub(super) fn configure(server: &Server) {
    for name in ["mail", "etc", "etc/courier", "etc/courier/shared", "run/authdaemon"] {
        fs::create_dir(server.path(name)).expect("a directory");
    }
    for (file, line) in
        [("passwd", "courier:x:990:990::/nonexistent:/usr/sbin/nologin\n"), ("group", "courier:x:990:\n")]
    {
        let mut text = fs::read_to_string(format!("/etc/{file}")).expect("the users of this machine");
        text = text.lines().filter(|known| !known.starts_with("courier:")).map(|known| format!("{known}\n")).collect();
        fs::write(server.path("etc").join(file), text + line).expect("a file");
    }
    let etc = server.path("etc/courier");
    fs::write(etc.join("authdaemonrc"), AUTH).expect("a file");
    fs::write(etc.join("imapd"), IMAPD).expect("a file");
    fs::write(etc.join("imapd-ssl"), IMAPD_SSL).expect("a file");
    fs::copy(server.path("tls/both.pem"), etc.join("imapd.pem")).expect("a certificate");
    fs::set_permissions(etc.join("imapd.pem"), fs::Permissions::from_mode(0o600)).expect("a mode");
    chown(etc.join("imapd.pem"), Some(COURIER_ID), Some(COURIER_ID)).expect("an owner");
    chown(server.path("mail"), Some(MAIL_ID), Some(MAIL_ID)).expect("an owner");
    fs::write(etc.join("userdb"), "").expect("a file");
    fs::set_permissions(etc.join("userdb"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(etc.join("shared/index"), "").expect("a file");
}

pub(super) fn script(server: &Server) -> String {
    let mut script = MOUNTS.replace("@ROOT@", packages("courier").to_str().expect("a path that is text"));
    script.push_str("if [ ! -s /etc/courier/userdb ]; then\n");
    for (name, password) in ACCOUNTS {
        script.push_str(&account_commands(server, &Account::of(name, password)));
    }
    script.push_str("fi\nmakeuserdb\n");
    script.push_str(
        &START
            .replace("@IMAP@", &server.imap.number().to_string())
            .replace("@IMAPS@", &server.imaps.number().to_string()),
    );
    script
}

/// What makes an account: its line in the user database, its line in the index of shared folders, its maildir.
fn account_commands(server: &Server, account: &Account) -> String {
    let Account { name, password } = account;
    let home = format!("{}/mail/{name}", server.dir.path().display());
    let options = if name == "mailadmin" { "|options=group=administrators" } else { "" };
    let quota = if name == "user3" { "-q 1000000S" } else { "" };
    let mut commands = String::new();
    let _infallible = write!(
        commands,
        "hash=$(printf %s '{password}' | openssl passwd -1 -stdin)
printf '%s\\thome=%s|mail=%s/Maildir|uid=8|gid=8|imappw=%s%s\\n' {name} {home} {home} \"$hash\" '{options}' >>/etc/courier/userdb
printf '%s\\t8\\t8\\t%s\\tMaildir\\n' {name} {home} >>/etc/courier/shared/index
mkdir -p {home}
maildirmake.courier {home}/Maildir
{quota_command}chown -R mail:mail {home}
",
        quota_command = if quota.is_empty() { String::new() } else { format!("maildirmake.courier {quota} {home}/Maildir\n") },
    );
    commands
}

pub(super) fn make_mailbox(server: &Server, account: &Account) {
    let commands = format!("set -e; {ENVIRONMENT}\n{}makeuserdb", account_commands(server, account));
    // Two tests that make accounts at the same time would write one database.
    let lock = server.path("run/accounts.lock");
    let lock = lock.to_str().expect("a path that is text");
    server.inside(&["flock", lock, "sh", "-c", &commands]);
}

/// The header of a folder's list of UIDs says it: version, UIDVALIDITY, next UID.
pub(super) fn change_uid_validity(server: &Server, account: &Account, path: &[&str], value: u32) {
    let mut folder = server.path("mail").join(&account.name).join("Maildir");
    if !path.is_empty() {
        folder.push(format!(".{}", path.join(".")));
    }
    let list = folder.join("courierimapuiddb");
    let text = fs::read_to_string(&list).expect("the list of UIDs");
    let (header, rest) = text.split_once('\n').expect("a header");
    let mut words: Vec<String> = header.split(' ').map(str::to_owned).collect();
    *words.get_mut(1).expect("a UIDVALIDITY") = value.to_string();
    fs::write(&list, format!("{}\n{rest}", words.join(" "))).expect("the list of UIDs");
}

const ENVIRONMENT: &str = "export LD_LIBRARY_PATH=/usr/lib:/usr/lib/courier-authlib";

const MOUNTS: &str = "
mount -t overlay -o lowerdir=@ROOT@/usr:/usr none /usr
mount -t overlay -o lowerdir=$DIR/etc:/etc none /etc
mount --bind $DIR/etc/courier /etc/courier
mount -t tmpfs none /run
mkdir /run/courier
mount --bind $DIR/run /run/courier
export LD_LIBRARY_PATH=/usr/lib:/usr/lib/courier-authlib
";

/// `couriertcpd` looks for a program nowhere but at the path that it is given.
const START: &str = "
limits='-nodnslookup -noidentlookup -maxprocs=200 -maxperip=200 -address=127.0.0.1'
(set -a; . /etc/courier/authdaemonrc; exec /usr/lib/courier/courier-authlib/authdaemond) </dev/null &
set -a
. /etc/courier/imapd
. /etc/courier/imapd-ssl
set +a
couriertcpd $limits @IMAP@ /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir </dev/null &
(export IMAP_TLS=1 PROTOCOL=IMAP; exec couriertcpd $limits @IMAPS@ \
    /usr/bin/couriertls -server -tcpd /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir) </dev/null &
";

const AUTH: &str = r#"
authmodulelist="authuserdb"
authmodulelistorig="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
LOGGEROPTS=""
"#;

/// `IMAP_EMPTYTRASH` is empty, or Courier would silently delete what is older than seven days in Trash.
const IMAPD: &str = r#"
IMAP_CAPABILITY="IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"
IMAP_CAPABILITY_ORIG="IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"
IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY AUTH=PLAIN"
IMAP_CAPABILITY_TLS_ORIG="$IMAP_CAPABILITY_ORIG AUTH=PLAIN"
IMAP_KEYWORDS=1
IMAP_ACL=1
IMAP_PROXY=0
IMAP_IDLE_TIMEOUT=60
IMAP_MAILBOX_SANITY_CHECK=1
IMAP_CHECK_ALL_FOLDERS=0
IMAP_OBSOLETE_CLIENT=0
IMAP_UMASK=022
IMAP_USELOCKS=1
IMAP_SHAREDINDEXFILE=/etc/courier/shared/index
IMAP_ENHANCEDIDLE=0
IMAP_TRASHFOLDERNAME=Trash
IMAP_EMPTYTRASH=
IMAP_MOVE_EXPUNGE_TO_TRASH=0
MAILDIRPATH=Maildir
"#;

const IMAPD_SSL: &str = "
COURIERTLS=/usr/bin/couriertls
TLS_CERTFILE=/etc/courier/imapd.pem
TLS_TRUSTCERTS=/etc/ssl/certs/ca-certificates.crt
TLS_VERIFYPEER=NONE
IMAPDSTARTTLS=YES
IMAP_STARTTLS=YES
IMAP_TLS_REQUIRED=0
";
