//! Old mail exported and removed from a real Dovecot, beside the programs that people use for it; and many mailboxes,
//! over one connection and over eight.

use std::path::Path;

use retention_tests::servers::{Account, Kind, Server};

use super::{scratch, text};
use crate::figure::{Line, Stopwatch, Target, head, median, say, spread};
use crate::letters::{LETTER_BYTES, OLDER_THAN, fill};
use crate::mailbox::{MailPurged, Mailboxes};
use crate::part;
use crate::peer::mail::{Does, PEERS, Task, exported, mail_dir};
use crate::{Outcome, Setting};

/// How many letters the one mailbox holds, if there are so many rows: 200 MB.
const LETTERS: u32 = 10_000;

/// How many mailboxes, if there are so many rows, with how many letters of which size each.
const MAILBOXES: usize = 1_000;
const LETTERS_EACH: u32 = 100;
const BYTES_EACH: usize = 2_000;

/// The most that we may have resident, in MiB.
const RESIDENT_MAX: f64 = 150.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let server = Server::start(Kind::Dovecot);
    head();
    one(setting, dir.path(), &server)?;
    many(setting, dir.path(), &server)
}

/// Lets a part purge mailboxes in an installation of its own.
fn ours(dir: &Path, name: &str, server: &Server, accounts: &[Account], connections: usize) -> Outcome<MailPurged> {
    let accounts = accounts.iter().map(|account| (account.name.clone(), account.password.clone())).collect();
    let mailboxes = Mailboxes { port: server.imaps_port(), ca_file: server.ca_file(), connections, accounts };
    let file = dir.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_vec(&mailboxes)?)?;
    part::ask(&["mail-purge", &text(&dir.join(name)), &text(&file)])
}

/// Returns how many letters the server says to have left.
fn left(server: &Server, account: &Account) -> Outcome<u32> {
    let status = server.doveadm(&["mailbox", "status", "-u", &account.name, "messages", "INBOX"]);
    let (_, count) = status.trim().rsplit_once('=').ok_or("doveadm tells no count")?;
    Ok(count.parse()?)
}

fn one(setting: &Setting, dir: &Path, server: &Server) -> Outcome<()> {
    let letters = LETTERS.min(u32::try_from(setting.rows).unwrap_or(LETTERS));
    let filled = server.mailbox();
    fill(&mut server.login(&filled), letters, LETTER_BYTES);
    let copy = || {
        let account = server.mailbox();
        server.copy_mail(&filled, &account);
        // Old mail lies on its disk. Else whoever waits for the disk first waits for all of it, and the removal of what never
        // came there costs the server nothing.
        rustix::fs::sync();
        account
    };
    let due = letters / 2;
    let (mut whole, mut runs, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
    for round in 0..setting.rounds {
        let account = copy();
        let took = ours(dir, &format!("ours-{round}"), server, std::slice::from_ref(&account), 8)?;
        let left = left(server, &account)?;
        if took.purged != u64::from(due) || left != due {
            return Err(format!("{} were purged, {left} are left", took.purged).into());
        }
        whole.push(took.scan + took.plan + took.run);
        runs.push(took.run);
        peak = peak.max(took.memory.peak_mib);
        let mut steps: Vec<(String, f64)> = took.steps.into_iter().collect();
        steps.sort_by(|a, b| b.1.total_cmp(&a.1));
        let told: Vec<String> = steps.iter().take(6).map(|(step, seconds)| format!("{step} {seconds:.2}")).collect();
        say(&format!("where the time of the run goes, s: {}", told.join(", ")));
    }
    let work = format!("old half of {letters} letters of 20 KB");
    let line = |work: &str, ours: String, peer: String, value: f64, target: Option<Target>| {
        Line { work, ours, peer, value, target }.print();
    };
    line(
        &format!("{work}: look, plan, export, verify, purge, s"),
        spread(&whole, 2),
        String::new(),
        median(&whole),
        None,
    );
    line(&format!("{work}: of this the run, s"), spread(&runs, 2), String::new(), median(&runs), None);
    line(
        &format!("{work}: peak resident, MiB"),
        String::new(),
        String::new(),
        peak,
        Some(Target::AtMost(RESIDENT_MAX)),
    );
    if setting.alone {
        return Ok(());
    }
    for peer in &PEERS {
        let mut seconds = Vec::new();
        for round in 0..setting.rounds {
            let account = copy();
            let place = dir.join(format!("{}-{round}", peer.package));
            std::fs::create_dir(&place)?;
            let (port, ca_file) = (server.imaps_port(), server.ca_file());
            let task = Task { port, ca_file: &ca_file, user: &account.name, password: &account.password, dir: &place };
            // One of them gives up now and then; what the others take is still worth knowing.
            let took = match peer.run(&task) {
                Ok(Some(took)) => took,
                Ok(None) => {
                    say(&format!("{} is not installed: it is in Debian's package {}", peer.name, peer.package));
                    break;
                }
                Err(error) => {
                    say(&error.to_string());
                    break;
                }
            };
            let (files, left) = (exported(&mail_dir(&task))?, left(server, &account)?);
            let wanted = match peer.does {
                Does::MovesOld => (due, due),
                Does::CopiesAllRemovesOld => (letters, due),
                Does::CopiesAll => (letters, letters),
            };
            // Some keep a file or two of their own beside the mail.
            if files < u64::from(wanted.0) || left != wanted.1 {
                return Err(format!("{} wrote {files} files and left {left} letters", peer.name).into());
            }
            seconds.push(took);
        }
        if !seconds.is_empty() {
            let what = match peer.does {
                Does::MovesOld => "exports and removes the half",
                Does::CopiesAllRemovesOld => "exports all, removes the half",
                Does::CopiesAll => "exports all, removes nothing",
            };
            let ratio = median(&seconds) / median(&whole);
            let theirs = format!("{} {} s ({what})", peer.name, spread(&seconds, 2));
            line(&format!("{work}: times as fast"), spread(&whole, 2), theirs, ratio, Some(Target::AtLeast(1.0)));
        }
    }
    let account = copy();
    let watch = Stopwatch::start();
    let query = ["mailbox", "INBOX", "before", OLDER_THAN];
    let fetched = server.doveadm(&[&["fetch", "-u", &account.name, "text"][..], &query[..]].concat());
    std::fs::write(dir.join("doveadm.txt"), fetched)?;
    server.doveadm(&[&["expunge", "-u", &account.name][..], &query[..]].concat());
    let limit = watch.seconds();
    let theirs = format!("doveadm on the server itself {limit:.2} s");
    line(&format!("{work}: the limit"), spread(&whole, 2), theirs, limit / median(&whole), None);
    Ok(())
}

fn many(setting: &Setting, dir: &Path, server: &Server) -> Outcome<()> {
    let mailboxes = MAILBOXES.min(usize::try_from(setting.rows).unwrap_or(MAILBOXES));
    let filled = server.mailbox();
    fill(&mut server.login(&filled), LETTERS_EACH, BYTES_EACH);
    let mut seconds: Vec<MailPurged> = Vec::new();
    for connections in [1, 8] {
        let accounts: Vec<Account> = (0..mailboxes)
            .map(|_| {
                let account = server.mailbox();
                server.copy_mail(&filled, &account);
                account
            })
            .collect();
        rustix::fs::sync();
        seconds.push(ours(dir, &format!("many-{connections}"), server, &accounts, connections)?);
    }
    let [one, eight] = &seconds[..] else { return Err("a measurement is missing".into()) };
    let work = format!("{mailboxes} mailboxes of {LETTERS_EACH} letters");
    for (what, of) in [
        ("look at all, s", (|took: &MailPurged| took.scan) as fn(&MailPurged) -> f64),
        ("look again and plan, s", |took| took.plan),
        ("export, verify, purge, s", |took| took.run),
    ] {
        Line {
            work: &format!("{work}: {what}"),
            ours: format!("8 connections {:.1}", of(eight)),
            peer: format!("1 connection {:.1}", of(one)),
            value: of(one) / of(eight),
            target: None,
        }
        .print();
    }
    Line {
        work: &format!("{work}: peak resident, MiB"),
        ours: format!("{:.0}", eight.memory.peak_mib),
        peer: String::new(),
        value: eight.memory.peak_mib.max(one.memory.peak_mib),
        target: Some(Target::AtMost(RESIDENT_MAX)),
    }
    .print();
    Ok(())
}
