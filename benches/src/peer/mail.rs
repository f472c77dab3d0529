//! Programs that export or remove old mail over IMAP: Debian's packages, as a person would set them up for this.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::figure::Stopwatch;
use crate::letters::OLDER_THAN;

const BASELINE: &str = include_str!("mail/baseline.py");

/// Nobody: getmail refuses to work for root.
const NOBODY: u32 = 65_534;

/// Where a peer works.
pub(crate) struct Task<'a> {
    /// The port of IMAP over TLS, on localhost.
    pub(crate) port: u16,
    /// The authority of the server.
    pub(crate) ca_file: &'a Path,
    /// The login name.
    pub(crate) user: &'a str,
    /// The password.
    pub(crate) password: &'a str,
    /// An empty directory of its own.
    pub(crate) dir: &'a Path,
}

/// What a peer does with old mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It exports what is old, and removes it from the server.
    MovesOld,
    /// It exports everything, and then removes what is old.
    CopiesAllRemovesOld,
    /// It exports everything and removes nothing.
    CopiesAll,
}

/// One program.
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: &'static str,
    /// The program that must be there.
    pub(crate) program: &'static str,
    /// The Debian package with it.
    pub(crate) package: &'static str,
    /// What it does.
    pub(crate) does: Does,
    command: fn(&Task<'_>) -> Outcome<Command>,
}

/// All of them.
pub(crate) const PEERS: [Peer; 7] = [
    Peer {
        name: "30 lines of Python",
        program: "/usr/bin/python3",
        package: "python3",
        does: Does::MovesOld,
        command: baseline,
    },
    Peer {
        name: "imapfilter",
        program: "/usr/bin/imapfilter",
        package: "imapfilter",
        does: Does::MovesOld,
        command: imapfilter,
    },
    Peer { name: "fdm", program: "/usr/bin/fdm", package: "fdm", does: Does::MovesOld, command: fdm },
    Peer { name: "getmail6", program: "/usr/bin/getmail", package: "getmail6", does: Does::MovesOld, command: getmail },
    Peer {
        name: "pullimap",
        program: "/usr/bin/pullimap",
        package: "pullimap",
        does: Does::CopiesAllRemovesOld,
        command: pullimap,
    },
    Peer { name: "isync", program: "/usr/bin/mbsync", package: "isync", does: Does::CopiesAll, command: mbsync },
    Peer {
        name: "offlineimap3",
        program: "/usr/bin/offlineimap",
        package: "offlineimap3",
        does: Does::CopiesAll,
        command: offlineimap,
    },
];

impl Peer {
    /// Lets it do its work and returns the seconds; nothing when it is not installed.
    pub(crate) fn run(&self, task: &Task<'_>) -> Outcome<Option<f64>> {
        if !Path::new(self.program).exists() {
            return Ok(None);
        }
        let mut command = (self.command)(task)?;
        command.env("HOME", task.dir).current_dir(task.dir).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let watch = Stopwatch::start();
        let output = command.output()?;
        let seconds = watch.seconds();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{} failed: {}", self.name, said.lines().last().unwrap_or_default()).into());
        }
        Ok(Some(seconds))
    }
}

/// Counts the files that a program wrote into its directory of mail.
pub(crate) fn exported(dir: &Path) -> Outcome<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { exported(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// Returns the directory into which every program writes its mail.
pub(crate) fn mail_dir(task: &Task<'_>) -> PathBuf {
    task.dir.join("mail")
}

/// Writes a configuration that only its reader may see.
fn config(task: &Task<'_>, name: &str, text: &str) -> Outcome<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = task.dir.join(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

/// Makes an empty maildir.
fn maildir(path: &Path) -> Outcome<()> {
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(path.join(part))?;
    }
    Ok(())
}

fn baseline(task: &Task<'_>) -> Outcome<Command> {
    let script = config(task, "baseline.py", BASELINE)?;
    let mut command = Command::new("python3");
    command.arg(script).arg(task.port.to_string()).arg(task.ca_file).args([task.user, task.password, OLDER_THAN]);
    command.arg(mail_dir(task));
    Ok(command)
}

fn imapfilter(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, .. } = task;
    let out = mail_dir(task);
    std::fs::create_dir(&out)?;
    let script = format!(
        "account = IMAP {{ server = 'localhost', port = {port}, username = '{user}', password = '{password}', \
         ssl = 'auto' }}\n\
         old = account.INBOX:arrived_before('{OLDER_THAN}')\n\
         for _, message in ipairs(old) do\n  local box, uid = table.unpack(message)\n\
         local file = io.open('{}/' .. uid .. '.eml', 'w')\n  file:write(box[uid]:fetch_message())\n  file:close()\n\
         end\nold:delete_messages()\n",
        out.display()
    );
    let script = config(task, "filter.lua", &script)?;
    let mut command = Command::new("imapfilter");
    command.arg("-c").arg(script).arg("-t").arg(task.ca_file);
    Ok(command)
}

fn fdm(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, .. } = task;
    let out = mail_dir(task);
    maildir(&out)?;
    // Its age is of the date in the head; a thousand days lie between the old and the young.
    let text = format!(
        "account \"a\" imaps server \"localhost\" port {port} user \"{user}\" pass \"{password}\"\n\
         action \"save\" maildir \"{}\"\naction \"keep\" keep\n\
         match age > 1000 days action \"save\"\nmatch all action \"keep\"\n",
        out.display()
    );
    let file = config(task, "fdm.conf", &text)?;
    let mut command = Command::new("fdm");
    command.arg("-f").arg(file).args(["-l", "fetch"]);
    Ok(command)
}

fn getmail(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, .. } = task;
    let out = mail_dir(task);
    maildir(&out)?;
    let text = format!(
        "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = {port}\nusername = {user}\n\
         password = {password}\nmailboxes = (\"INBOX\",)\nimap_search = BEFORE {OLDER_THAN}\n\
         [destination]\ntype = Maildir\npath = {}/\n[options]\nread_all = true\ndelete = true\nverbose = 0\n",
        out.display()
    );
    let file = config(task, "getmailrc", &text)?;
    let owner = format!("{NOBODY}:{NOBODY}");
    if !Command::new("chown").arg("-R").arg(owner).arg(task.dir).status()?.success() {
        return Err("the directory of getmail cannot be handed over".into());
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups", "getmail"]);
    command.arg(format!("--getmaildir={}", task.dir.display())).arg(format!("--rcfile={}", file.display()));
    Ok(command)
}

fn pullimap(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, .. } = task;
    let out = mail_dir(task);
    std::fs::create_dir(&out)?;
    // It hands every message to a server of LMTP, and removes what is older than so many days by the date of arrival.
    let sink = config(task, "sink.py", include_str!("mail/lmtp_sink.py"))?;
    let text = format!(
        "[a]\ntype = imaps\nhost = localhost\nport = {port}\nusername = {user}\npassword = {password}\n\
         SSL_CAfile = {}\nSSL_verify = YES\ndeliver-method = lmtp:[127.0.0.1]:@PORT@\ndeliver-rcpt = a\n\
         purge-after = 1000\nmailbox = INBOX\nstatefile = {}/state\n",
        task.ca_file.display(),
        task.dir.display()
    );
    let file = config(task, "pullimap.conf", &text)?;
    // Debian's own, which has the library of the sink.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(sink).arg(out).arg(file);
    Ok(command)
}

fn mbsync(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, ca_file, .. } = task;
    let out = mail_dir(task);
    std::fs::create_dir(&out)?;
    let text = format!(
        "IMAPAccount a\nHost localhost\nPort {port}\nUser {user}\nPass {password}\nSSLType IMAPS\n\
         CertificateFile {}\nSystemCertificates no\n\nIMAPStore far\nAccount a\n\n\
         MaildirStore near\nPath {out}/\nInbox {out}/INBOX\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nSync Pull\nCreate Near\nSyncState *\n",
        ca_file.display(),
        out = out.display()
    );
    let file = config(task, "mbsyncrc", &text)?;
    let mut command = Command::new("mbsync");
    command.arg("-c").arg(file).arg("c");
    Ok(command)
}

fn offlineimap(task: &Task<'_>) -> Outcome<Command> {
    let Task { port, user, password, ca_file, dir, .. } = task;
    let out = mail_dir(task);
    std::fs::create_dir(&out)?;
    let text = format!(
        "[general]\naccounts = a\nmetadata = {dir}/meta\nui = quiet\n[Account a]\nlocalrepository = near\n\
         remoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {}\n[Repository far]\ntype = IMAP\n\
         remotehost = localhost\nremoteport = {port}\nremoteuser = {user}\nremotepass = {password}\nssl = yes\n\
         sslcacertfile = {}\nfolderfilter = lambda name: name == 'INBOX'\nreadonly = True\n",
        out.display(),
        ca_file.display(),
        dir = dir.display()
    );
    let file = config(task, "offlineimaprc", &text)?;
    let mut command = Command::new("offlineimap");
    command.arg("-c").arg(file).arg("-o");
    Ok(command)
}
