//! What is done with a store while its daemon is stopped: making, verifying and rebuilding it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use retention_core::control::ExitCode;
use retention_core::evidence::checkpoint::CHECKPOINT_BYTES_MAX;
use retention_core::id::Position;
use retention_core::time::Timestamp;
use zeroize::Zeroizing;

use super::args::RestoreArgs;
use super::verified;
use crate::clock::WallClock;
use crate::config::{Config, Environment, SecretPlace};
use crate::keyholders::Identities;
use crate::store::backup::{BackupError, Ledgers, Places, Reach, Restore};
use crate::store::durable_file;
use crate::store::vault::RootKey;
use crate::store::{OpenError, Options, Store, VerifyReport, refuse_as_root, refuse_if_there};

/// The longest file of private keys that is read, in bytes.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;

/// Plain lines of progress are written this often, in events, where there is no terminal.
const LINE_EVERY: u64 = 1_000_000;

/// A ledger of erasures that ends longer ago is warned of: a day, in microseconds. While the store runs it says each hour that
/// it has everything.
const LEDGER_OLD_US: i64 = 86_400_000_000;

/// The name of the only work that counts more than events.
const RESTORE: &str = "restore";

/// Makes a new, empty store, the directory of exports, and the root key where a file is named that is not there.
#[must_use]
pub fn init(config: &Config) -> ExitCode {
    done(try_init(config))
}

/// Reads everything durable and says what is damaged.
#[must_use]
pub fn verify(config: &Config) -> ExitCode {
    done(try_verify(config))
}

/// Makes everything in sled again from the journal.
#[must_use]
pub fn rebuild(config: &Config) -> ExitCode {
    done(try_rebuild(config))
}

/// Takes what was erased off the disk.
#[must_use]
pub fn compact(config: &Config) -> ExitCode {
    done(try_compact(config))
}

/// Makes the store again from a backup.
#[must_use]
pub fn restore(config: &Config, asked: RestoreArgs) -> ExitCode {
    done(try_restore(config, asked))
}

/// What was asked could not be done: what to say, and how to end.
struct Refused {
    says: String,
    exit: ExitCode,
}

fn refuse(exit: ExitCode, says: impl std::fmt::Display) -> Refused {
    Refused { says: says.to_string(), exit }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::Locked { .. } | OpenError::NotOurs { .. } => ExitCode::NotPermitted,
            OpenError::Absent | OpenError::Exists | OpenError::HalfMade | OpenError::Format => ExitCode::PersonNeeded,
            OpenError::RootKey(_) | OpenError::Vault(_) | OpenError::Journal(_) | OpenError::Blocks(_) => {
                ExitCode::PersonNeeded
            }
            OpenError::File(_)
            | OpenError::Read(_)
            | OpenError::Append(_)
            | OpenError::Thread(_)
            | OpenError::Lock(_) => ExitCode::Unexpected,
        };
        refuse(exit, error)
    }
}

impl From<BackupError> for Refused {
    fn from(error: BackupError) -> Self {
        let exit = match &error {
            BackupError::Open(error) if matches!(error.as_ref(), OpenError::NotOurs { .. }) => ExitCode::NotPermitted,
            BackupError::Open(_)
            | BackupError::Vault(_)
            | BackupError::OtherLog
            | BackupError::LogGone
            | BackupError::KeysDirGone
            | BackupError::Absent
            | BackupError::KeysGone { .. }
            | BackupError::InTheWay { .. }
            | BackupError::UnderWay
            | BackupError::Encrypted { .. }
            | BackupError::LostAbsent
            | BackupError::NoMemory
            | BackupError::Damaged(_) => ExitCode::PersonNeeded,
            BackupError::Changed { .. }
            | BackupError::Forged { .. }
            | BackupError::Unstamped { .. }
            | BackupError::Newer { .. }
            | BackupError::Contradicts { .. }
            | BackupError::NotSigned
            | BackupError::Ledger(_)
            | BackupError::NotGood(_)
            | BackupError::Tree(_) => ExitCode::VerificationFailed,
            BackupError::File(_) | BackupError::Read(_) | BackupError::Append(_) | BackupError::Json(_) => {
                ExitCode::Unexpected
            }
        };
        refuse(exit, error)
    }
}

/// Says also in which directory: which one that is stands in a file that may be another than people think.
fn in_the(dir: &Path) -> impl Fn(OpenError) -> Refused {
    move |error| {
        let Refused { says, exit } = error.into();
        Refused { says: format!("{}: {says}", dir.display()), exit }
    }
}

fn done(result: Result<ExitCode, Refused>) -> ExitCode {
    result.unwrap_or_else(|refused| {
        say(&refused.says);
        refused.exit
    })
}

/// Writes to standard error. When nobody reads it, nothing can be said and nothing is lost.
fn say(line: &str) {
    let _unread = writeln!(io::stderr().lock(), "{line}");
}

fn options(config: &Config) -> Result<Options, Refused> {
    let root_key =
        config.store.root_key.path(&Environment::read()).map_err(|error| refuse(ExitCode::Invalid, error))?;
    let options = Options::usual(&config.store.state_dir, &root_key, Arc::new(WallClock))
        .map_err(|error| refuse(ExitCode::Unexpected, error))?;
    Ok(Options { cache_bytes: config.store.cache_bytes, ..options })
}

fn try_init(config: &Config) -> Result<ExitCode, Refused> {
    let options = options(config)?;
    let dir = in_the(&options.dir);
    // Before a key is made: a key for a store that has another one would only confuse.
    refuse_if_there(&options.dir).map_err(&dir)?;
    if options.dir.is_dir() {
        refuse_as_root(&options.dir).map_err(&dir)?;
    }
    // What cannot be made is said before there is a store, or the next attempt would find one.
    durable_file::create_private_dir(&options.dir, "state directory").map_err(|error| dir(error.into()))?;
    let exports = &config.store.exports_dir;
    durable_file::create_private_dir(exports, "exports directory").map_err(|error| in_the(exports)(error.into()))?;
    if let SecretPlace::File(path) = &config.store.root_key
        && !path.exists()
    {
        drop(RootKey::generate_file(path).map_err(OpenError::from)?);
        say_what_the_key_means(path);
    }
    Store::init(&options).map_err(&dir)?;
    say(&format!("an empty store was made in {}", options.dir.display()));
    if let Some(warning) = Store::open(&options, &mut |_, _| {}).map_err(&dir)?.erasure_warning() {
        say(&warning);
    }
    Ok(ExitCode::Done)
}

fn say_what_the_key_means(path: &Path) {
    say(&format!(
        "a new root key was made in {} (mode 0600).\n\
         Copy it to a safe place now, apart from every backup of the store: who loses it has lost everything that is sealed.\n\
         On this machine it lies beside the data: it protects a copy of the store alone, such as a backup, and not against\n\
         who can read the whole machine. A systemd credential also protects a stolen disk.",
        path.display()
    ));
}

fn try_verify(config: &Config) -> Result<ExitCode, Refused> {
    let options = options(config)?;
    let mut bar = Bar::new("verify");
    let report = Store::verify_stopped(&options, &mut |at, all| bar.tell(at, all));
    bar.end();
    let mut report = report.map_err(in_the(&options.dir))?;
    let beside = verified::look_beside(&mut report, &options.dir, config.backup.as_ref(), &options.halt);
    if let Err(error) = beside {
        say(&format!("the checkpoints were not compared with those of the newest backup: {error}"));
    }
    say_report(&report);
    Ok(if report.is_good() { ExitCode::Done } else { ExitCode::VerificationFailed })
}

fn say_report(report: &VerifyReport) {
    for finding in &report.findings {
        say(&format!("{}: {finding}; {}", finding.code(), report.what_to_do(finding)));
    }
    if report.unnamed > 0 {
        say(&format!("and {} more", report.unnamed));
    }
    for entity in &report.in_flight {
        say(&format!("the purge of {entity} was interrupted; the next start goes on with it"));
    }
    if report.torn_bytes > 0 {
        say(&format!("{} bytes of a torn tail were never acknowledged; the next start cuts them", report.torn_bytes));
    }
    if let Some(why) = &report.not_compared {
        say(&format!("the event store was not compared with the journal: {why}"));
    }
    if let Some(checkpoints) = report.checkpoints {
        // How many there are is for a person to compare: the newest of them may have been taken away.
        say(&format!("{checkpoints} signed checkpoints were compared with the log"));
    }
    let keys = &report.keys;
    say(&format!(
        "{} events, {} bodies read, {} gone; {} keys live, {} destroyed, {} damaged; views {}, due index {}: {}",
        report.events,
        report.bodies_read,
        report.bodies_gone,
        keys.live,
        keys.destroyed,
        keys.damaged,
        compared(report.views_compared),
        compared(report.due_compared),
        if report.is_good() { "good" } else { "NOT good" },
    ));
}

fn compared(is_compared: bool) -> &'static str {
    if is_compared { "compared" } else { "not compared" }
}

fn try_rebuild(config: &Config) -> Result<ExitCode, Refused> {
    let options = options(config)?;
    let mut bar = Bar::new("rebuild");
    let store = Store::rebuild(&options, &mut |at, all| bar.tell(at, all));
    bar.end();
    let store = store.map_err(in_the(&options.dir))?;
    if let Some(reason) = store.read_only_reason() {
        return Err(refuse(ExitCode::PersonNeeded, format!("the store could not be rebuilt: {reason}")));
    }
    let folded = store.report().folded;
    store.write_out(1).map_err(|error| refuse(ExitCode::Unexpected, error))?;
    store.close().map_err(|error| refuse(ExitCode::Unexpected, error))?;
    // What was set aside is of no use once the new one is whole, and it may keep what was removed readable.
    let discarded = crate::store::sled_door::discard_set_aside(&options.dir.join("events"))
        .map_err(|error| refuse(ExitCode::Unexpected, error))?;
    say(&format!("{folded} events were folded again; {discarded} older event stores were removed"));
    Ok(ExitCode::Done)
}

fn try_compact(config: &Config) -> Result<ExitCode, Refused> {
    let options = options(config)?;
    let mut bar = Bar::new("compact");
    let compacted = Store::compact(&options, &mut |at, all| bar.tell(at, all));
    bar.end();
    let (store, report) = compacted.map_err(in_the(&options.dir))?;
    store.close().map_err(|error| refuse(ExitCode::Unexpected, error))?;
    say(&format!(
        "{} bodies that nobody can open were removed from {} segments, {} bytes; the wrapping keys were rotated",
        report.bodies, report.segments, report.bytes
    ));
    Ok(ExitCode::Done)
}

fn try_restore(config: &Config, asked: RestoreArgs) -> Result<ExitCode, Refused> {
    let missing = |what: &str| {
        refuse(
            ExitCode::Invalid,
            format!("nobody says where the {what} lie: add [backup] to the configuration, or name them"),
        )
    };
    let configured = config.backup.as_ref();
    let log = asked.from.or_else(|| Some(configured?.dir.clone())).ok_or_else(|| missing("copies of the log"))?;
    let keys =
        asked.keys.or_else(|| Some(configured?.keys_dir.clone())).ok_or_else(|| missing("copies of the keys"))?;
    let mut files = asked.erasures;
    files.extend(configured.and_then(|backup| backup.erasures.clone()));
    files.dedup();
    let ledgers = match (asked.without_erasures, files.is_empty()) {
        (true, _) => Ledgers::None,
        (false, false) => Ledgers::Files(files),
        (false, true) => {
            let says = "no ledger of erasures is named, so nobody knows who was erased after the backup was made; nothing was \
                        restored. Name it with --erasures FILE; if there is none, say so with --without-erasures and erase \
                        these people again";
            return Err(refuse(ExitCode::Invalid, says));
        }
    };
    let read = |file: &Path, bytes_max: usize| {
        let text = std::fs::File::open(file).and_then(|file| {
            let mut text = String::new();
            io::Read::read_to_string(&mut io::Read::take(file, bytes_max as u64), &mut text)?;
            Ok(text)
        });
        text.map_err(|error| refuse(ExitCode::Invalid, format!("{}: {error}", file.display())))
    };
    let checkpoints = asked.checkpoint.iter().map(|file| read(file, CHECKPOINT_BYTES_MAX)).collect::<Result<_, _>>()?;
    let mut identities = Identities::default();
    for file in &asked.identity {
        let text = Zeroizing::new(read(file, IDENTITY_BYTES_MAX)?);
        let keys = Identities::read(&text);
        identities.extend(keys.map_err(|error| refuse(ExitCode::Invalid, format!("{}: {error}", file.display())))?);
    }
    let options = options(config)?;
    let restore = Restore {
        options: &options,
        places: &Places { log, keys },
        backup: asked.backup.map(Position),
        ledgers,
        without_newer: asked.without_newer,
        lost: asked.lost,
        checkpoints,
        identities,
    };
    let mut bar = Bar::new(RESTORE);
    let restored = restore.run(&mut |at, all| bar.tell(at, all));
    bar.end();
    let restored = restored?;
    for heard in &restored.heard {
        say(&heard.to_string());
    }
    if let Some(reach) = restored.ledger {
        let covered = restored.missing.map(|missing| restored.last.0.saturating_add(missing));
        say(&how_far(reach, covered, options.clock.now()));
    }
    let lost = match restored.missing {
        None => "no checkpoint was shown, so nobody knows whether events are lost".to_owned(),
        Some(0) => "no event is lost, as far as the newest checkpoint tells".to_owned(),
        Some(missing) => format!("{missing} events that the newest checkpoint covers are lost"),
    };
    say(&format!(
        "the store was made again from the backup of {}, up to event {}; {} keys that were destroyed since were left out; {lost}.\n\
         It only observes: nothing is purged, and no access is given or taken. Start the daemon, look at `retentionctl status`,\n\
         and then `retentionctl backup confirm-restore --reason …`",
        restored.made_at, restored.last, restored.destroyed_again
    ));
    Ok(ExitCode::Done)
}

/// Says how far a ledger of erasures speaks: nobody but whoever knows when the store was lost can tell whether its end was cut
/// off behind the backup.
fn how_far(reach: Reach, covered: Option<u64>, now: Timestamp) -> String {
    let Some(until) = reach.until else {
        return "the ledger of erasures does not say until when it has everything; an end that was cut off cannot be told".to_owned();
    };
    let more = match covered.map_or(0, |covered| covered.saturating_sub(reach.last.0)) {
        0 => String::new(),
        more => format!(", {more} events before the end of the newest checkpoint"),
    };
    let old = if now.0.saturating_sub(until.0) > LEDGER_OLD_US {
        ". That is more than a day ago: if the store ran on after it, the end of the ledger was cut off, or it is an older copy"
    } else {
        ""
    };
    format!(
        "the ledger of erasures speaks until {until}, up to event {}{more}; an erasure after that is not known to it{old}",
        reach.last
    )
}

/// A restore counts the bytes that it copies, then the events that it reads.
fn unit_of(what: &str) -> &'static str {
    if what == RESTORE { "bytes, then events" } else { "events" }
}

/// Progress: a bar on a terminal, now and then a line elsewhere.
struct Bar {
    what: &'static str,
    bar: Option<ProgressBar>,
    told: u64,
}

impl Bar {
    fn new(what: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {msg}, {eta} left");
            ProgressBar::new(0)
                .with_prefix(what)
                .with_message(unit_of(what))
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { what, bar, told: 0 }
    }

    fn tell(&mut self, at: u64, all: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all);
                bar.set_position(at);
            }
            None if at >= self.told.saturating_add(LINE_EVERY) => {
                self.told = at;
                say(&format!("{}: {at} of {all} {}", self.what, unit_of(self.what)));
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_ledger_speaks_is_told_and_one_that_ended_long_ago_is_warned_of() {
        let until: Timestamp = "2026-11-27T03:00:00Z".parse().unwrap();
        let reach = Reach { until: Some(until), last: Position(700) };
        let told = |covered, hours: i64| how_far(reach, covered, Timestamp(until.0 + hours * 3_600_000_000));
        let plain = "the ledger of erasures speaks until 2026-11-27T03:00:00Z, up to event 700; an erasure after that is not known to it";
        assert_eq!(told(None, 24), plain);
        assert_eq!(told(Some(700), -1), plain);
        assert!(told(Some(712), 1).contains("up to event 700, 12 events before the end of the newest checkpoint;"));
        assert!(told(None, 25).contains("That is more than a day ago"));
        let silent = how_far(Reach { until: None, last: Position(0) }, None, until);
        assert!(silent.contains("does not say until when"), "{silent}");
    }

    #[test]
    fn each_command_ends_with_the_code_that_says_what_it_found() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[store]\nstate_dir = \"state\"\nexports_dir = \"exports\"\nroot_key = { file = \"root.key\" }\n\
                    [control]\nsocket = \"control.sock\"\n[policies]\ndir = \"policies\"\n";
        let config = Config::parse(&dir.path().join("config.toml"), text.as_bytes()).unwrap();
        assert_eq!(verify(&config), ExitCode::PersonNeeded);
        assert_eq!(init(&config), ExitCode::Done);
        assert!(dir.path().join("root.key").is_file() && dir.path().join("exports").is_dir());
        assert_eq!(init(&config), ExitCode::PersonNeeded);
        assert_eq!(
            (verify(&config), rebuild(&config), verify(&config)),
            (ExitCode::Done, ExitCode::Done, ExitCode::Done)
        );
        let running = Store::open(&options(&config).ok().unwrap(), &mut |_, _| {}).unwrap();
        assert_eq!((verify(&config), rebuild(&config)), (ExitCode::NotPermitted, ExitCode::NotPermitted));
        drop(running);
        std::fs::write(dir.path().join("state/journal/00000001.seg"), [0; 40]).unwrap();
        assert_eq!((verify(&config), rebuild(&config)), (ExitCode::VerificationFailed, ExitCode::PersonNeeded));
    }
}
