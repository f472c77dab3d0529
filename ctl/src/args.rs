//! The command line. The help texts are the manual.

use std::path::PathBuf;

use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use retention_core::control::{EntityState, ExitCode, SOCKET_DEFAULT};
use retention_core::evidence::checkpoint::check_known_key;
use retention_core::id::EntityId;
use retention_core::record::Kind;

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod certificate;
pub(crate) mod clock;
pub(crate) mod document;
pub(crate) mod export;
pub(crate) mod grant;
pub(crate) mod hold;
pub(crate) mod key;
pub(crate) mod mailbox;
pub(crate) mod notice;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod subject;

/// Talks to retentiond.
///
/// retentiond keeps CRM entities as long as its policies say, then exports and purges them, and can prove what it did.
/// Every command asks the daemon over its Unix socket; what you may do follows from who you are.
///
/// Where a DATE is asked for, a day such as 2026-03-01 is its first instant in UTC, and a time of day names its offset:
/// 2026-03-01T10:00:00+01:00.
#[derive(Debug, Parser)]
#[command(name = "retentionctl", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// What every command understands.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Globals {
    /// The control socket of the daemon.
    #[arg(long, global = true, env = "RETENTIOND_SOCKET", default_value = SOCKET_DEFAULT, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// How answers are written.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Show instants in UTC instead of the local zone.
    #[arg(long, global = true)]
    pub(crate) utc: bool,
    /// Say nothing beside the answer: no progress, no next command.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// End with 4 when nothing is due.
    #[arg(long, global = true)]
    pub(crate) exit_code: bool,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people: fitted to the terminal.
    Table,
    /// One JSON document.
    Json,
    /// One JSON value in each line, as they come.
    Jsonl,
    /// Comma-separated, safe to open in a spreadsheet.
    Csv,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub(crate) struct Part {
    /// Only so many rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only what follows this cursor, as an earlier answer named it.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
}

/// Why something is done.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Why {
    /// Why, in one sentence. It is kept with the event.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Why something is done, if there is something to say.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PerhapsWhy {
    /// Why, in one sentence. It is kept with the event.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// What a command is about.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Say how the daemon is and what waits for a person.
    ///
    /// Ends with 10 when something does not go on without a person.
    ///
    /// Example: retentionctl status
    ///
    /// Needs the role auditor.
    Status,
    /// Check the configuration.
    #[command(subcommand)]
    Config(Config),
    /// Look at policies: what is kept for how long, and why.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Show every policy, hold and date that touches one entity, and who wins.
    ///
    /// The same as `policy explain`.
    ///
    /// Example: retentionctl explain E1042
    ///
    /// Needs the role auditor; reading is recorded.
    Explain(policy::ExplainArgs),
    /// Write documents from policies: record of processing, deletion concept, privacy notice.
    #[command(subcommand)]
    Document(document::Document),
    /// Look at what was taken in.
    #[command(subcommand)]
    Intake(Intake),
    /// Look at entities.
    #[command(subcommand)]
    Entity(Entity),
    /// Make, look at and judge plans.
    #[command(subcommand)]
    Plan(plan::Plan),
    /// Decide about what no policy disposes of without a person.
    #[command(subcommand)]
    Review(review::Review),
    /// Start, watch and stop runs.
    #[command(subcommand)]
    Run(run::Run),
    /// Place and release legal holds.
    #[command(subcommand)]
    Hold(hold::Hold),
    /// Find people in what is stored, and do what they ask for: access, portability, erasure, restriction, objection.
    #[command(subcommand)]
    Subject(Box<subject::Subject>),
    /// Restrict the use of records, and lift that.
    #[command(subcommand)]
    Restriction(subject::Restriction),
    /// Stop purges of everything, of one policy, of one mailbox or of one data subject before the next item.
    ///
    /// What is past its point of no return is finished. `status` says what is paused.
    ///
    /// Example: retentionctl pause --policy crm-leads --reason "the mapping looks wrong"
    ///
    /// Needs the role operator.
    Pause(hold::PauseArgs),
    /// Let purges go on that were paused.
    ///
    /// Example: retentionctl resume --policy crm-leads --reason "the mapping is right"
    ///
    /// Needs the role operator.
    Resume(hold::PauseArgs),
    /// Look at export bundles and verify them.
    #[command(subcommand)]
    Export(export::Export),
    /// Look at what waits for its purge, and take it back.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Register mailboxes on mail servers, and see what works there.
    #[command(subcommand)]
    Mailbox(mailbox::Mailbox),
    /// Give access to mailboxes for a time, and take it back.
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Confirm the clock after it was doubted.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// See what people are told, and try how.
    #[command(subcommand)]
    Notice(notice::Notice),
    /// Ask the event log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Write and check certificates of what was disposed of.
    #[command(subcommand)]
    Certificate(certificate::Certificate),
    /// Make backups, and confirm a store that was restored from one.
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Look at the keys of the store, and change them.
    #[command(subcommand)]
    Key(key::Key),
    /// Verify and rebuild the store.
    #[command(subcommand)]
    Store(Store),
    /// Look at schedules.
    #[command(subcommand)]
    Schedule(Schedule),
    /// Check, split, make and convert migration batches.
    #[command(subcommand)]
    Batch(Box<batch::Batch>),
    /// Write shell completions to standard output.
    ///
    /// Example: retentionctl completions bash
    ///
    /// Needs no daemon.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory.
    ///
    /// Example: retentionctl man ./man
    ///
    /// Needs no daemon.
    Man {
        /// The directory; it must exist.
        dir: PathBuf,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a configuration without using it.
    ///
    /// Without a file the daemon reads its own again. Ends with 78 when it is invalid.
    ///
    /// Example: retentionctl config check config.toml
    ///
    /// Needs the role auditor.
    Check {
        /// The file.
        file: Option<PathBuf>,
    },
}

/// `intake`.
#[derive(Debug, Subcommand)]
pub(crate) enum Intake {
    /// List what was taken in, the newest first.
    ///
    /// Example: retentionctl intake list --limit 10
    ///
    /// Needs the role auditor.
    List(Part),
    /// List what lies in the drop folders and is not taken in, why, and what to do.
    ///
    /// Links, sockets, directories that are no export, what is too large and what cannot be read stay where they are;
    /// what could not be taken is tried again. A delivery that was rejected as a whole is listed until it is taken out of
    /// rejected/, where its report lies beside it. A migration batch that was refused lies in the folder of its server with
    /// its passwords. The log has nothing of that: it is what the daemon saw at its newest look, every 30 seconds. A
    /// name may name a person, so who looks is recorded.
    ///
    /// Example: retentionctl intake left
    ///
    /// Needs the role auditor.
    Left(Part),
    /// Show one intake: counts, defects, outcome.
    ///
    /// Example: retentionctl intake show E7
    ///
    /// Needs the role auditor.
    Show {
        /// The intake, such as E7.
        intake: EntityId,
    },
}

/// `entity`.
#[derive(Debug, Subcommand)]
pub(crate) enum Entity {
    /// List entities, without their content.
    ///
    /// Example: retentionctl entity list --kind contact --state quarantined
    ///
    /// Needs the role auditor.
    List {
        /// Only of this kind: contact, company, deal, activity, post, task, insight, template, file, mailbox, intake,
        /// message, audit_month.
        #[arg(long, value_parser = parse_kind)]
        kind: Option<Kind>,
        /// Only in this mailbox.
        #[arg(long, value_name = "ENTITY")]
        mailbox: Option<EntityId>,
        /// Only in this state: present, absent, quarantined, purged.
        #[arg(long, value_parser = parse_state)]
        state: Option<EntityState>,
        #[command(flatten)]
        part: Part,
    },
    /// Open the content of one entity.
    ///
    /// Of what was purged only this is told: by which run, under which policy, on which day.
    ///
    /// Example: retentionctl entity show E1042
    ///
    /// Needs the role auditor; reading is recorded.
    Show {
        /// The entity, such as E1042.
        entity: EntityId,
    },
    /// List the events of one entity, oldest first: its story.
    ///
    /// Example: retentionctl entity history E1042
    ///
    /// Needs the role auditor.
    History {
        /// The entity, such as E1042.
        entity: EntityId,
        #[command(flatten)]
        part: Part,
    },
}

/// `quarantine`.
#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List what is hidden and waits for its purge.
    ///
    /// Example: retentionctl quarantine list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Take an entity back out; the run that hid it will not purge it.
    ///
    /// Example: retentionctl quarantine restore E1042 --reason "customer came back"
    ///
    /// Needs the role operator.
    Restore {
        /// The entity, such as E1042.
        entity: EntityId,
        #[command(flatten)]
        why: Why,
    },
}

/// `store`.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read the whole store and compare it with itself, while the daemon runs.
    ///
    /// `retentiond store verify` does it while the daemon is stopped. Ends with 20 when anything differs.
    ///
    /// Example: retentionctl store verify
    ///
    /// Needs the role admin.
    Verify,
    /// Make everything in sled again from the journal. It goes on when you leave.
    ///
    /// `retentiond store rebuild` does it while the daemon is stopped.
    ///
    /// Example: retentionctl store rebuild
    ///
    /// Needs the role admin.
    Rebuild,
    /// Take what was erased off the disk: the journal is written anew without the ciphertext whose keys are destroyed,
    /// and the wrapping keys are rotated. No proof changes.
    ///
    /// The daemon stops its work for it and goes on; `retentiond store compact` does it while the daemon is stopped.
    /// The event StoreCompacted says what was removed. What people wrote stays as ciphertext beside its facts. Do it
    /// each month, when nothing is under way.
    ///
    /// Example: retentionctl store compact
    ///
    /// Needs the role admin.
    Compact,
}

/// `schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Say when each schedule fires next, and what is due now.
    ///
    /// Example: retentionctl schedule next
    ///
    /// Needs the role auditor.
    Next(Part),
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "no such kind of entity".to_owned())
}

/// Takes a verifier key, as it was pasted: a key that is none is a wrong command line, and no failed verification.
fn parse_verifier_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    match check_known_key(key) {
        Ok(()) => Ok(key.to_owned()),
        Err(error) => Err(format!("{error}; `retentionctl audit keys` lists them")),
    }
}

fn parse_state(text: &str) -> Result<EntityState, String> {
    let states = [EntityState::Present, EntityState::Absent, EntityState::Quarantined, EntityState::Purged];
    states.into_iter().find(|state| state.name() == text).ok_or_else(|| "no such state".to_owned())
}

/// Returns the command line with the table of exit codes in its help.
pub(crate) fn command() -> clap::Command {
    let codes = ExitCode::ALL.map(|code| format!("  {:>2}  {}\n", code.number(), code.meaning())).concat();
    Args::command().after_long_help(format!("Exit codes:\n{codes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_a_sentence_an_example_and_its_role() {
        fn visit(command: &clap::Command, path: &str) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{path} says nothing");
            if command.has_subcommands() {
                for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
                    visit(child, &format!("{path} {}", child.get_name()));
                }
                return;
            }
            let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(long.contains(&format!("Example: {path}")), "{path} has no example:\n{long}");
            assert!(long.contains("Needs the role ") || long.contains("Needs no daemon"), "{path} names no role");
        }
        visit(&command(), "retentionctl");
    }

    #[test]
    fn examples_are_commands_that_parse() {
        fn visit(command: &clap::Command) {
            for child in command.get_subcommands() {
                visit(child);
            }
            let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let Some(example) = long.lines().find_map(|line| line.strip_prefix("Example: ")) else { return };
            let mut words = Vec::new();
            for (n, part) in example.split('"').enumerate() {
                match n % 2 {
                    0 => words.extend(part.split_whitespace().map(str::to_owned)),
                    _ => words.push(part.to_owned()),
                }
            }
            Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
        visit(&command());
    }
}
