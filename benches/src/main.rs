//! The measured claims, each beside a peer in the same run, printed as a ratio.
//!
//! | file | what |
//! |---|---|
//! | `data` | generated contacts: seeded, so that every run reads the same bytes |
//! | `figure` | clocks, percentiles, sizes, and the lines that are printed |
//! | `ours` | the store and the stages, as the daemon wires them |
//! | `part` | what runs in a process of its own: it is measured, or killed |
//! | `peer` | PostgreSQL, SQLite and one file with fdatasync |
//! | `claim` | the claims, one file each |
//!
//! Nothing here asserts a time. `README.md` keeps the figures and the commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod claim;
mod data;
mod figure;
mod letters;
mod mailbox;
mod ours;
mod part;
mod peer;

/// Any error: a bench that fails says why and ends.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "The measured claims, each beside a peer in the same run.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rows a second from one CSV file, beside PostgreSQL and SQLite.
    Intake(Setting),
    /// One durable append, beside one fdatasync.
    Append(Setting),
    /// A scheduled run with nothing due.
    NothingDue(Setting),
    /// Export, verify, purge and erase a tenth, beside PostgreSQL.
    Purge(Setting),
    /// Opening after SIGKILL.
    Open(Setting),
    /// Resident memory.
    Memory(Setting),
    /// The events of one entity.
    History(Setting),
    /// What a changed set of policies would dispose of.
    PolicyDiff(Setting),
    /// A selection by a filter of three leaves, beside SQLite.
    Filter(Setting),
    /// Old mail removed from a real Dovecot, beside the programs that people use for it.
    Mail(Setting),
    /// The tree over the log: growing, proving, checking.
    Evidence(Setting),
    /// All of them.
    All(Setting),
    /// One part of a claim, in a process of its own.
    #[command(hide = true)]
    Part(part::Args),
}

/// What is common to all claims.
#[derive(clap::Args, Clone)]
struct Setting {
    /// How many contacts.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often each measurement is repeated; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where to work: a directory on the disk that is to be measured. Everything in it that the bench made is removed.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    work: PathBuf,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
}

fn main() -> std::process::ExitCode {
    let done = match Args::parse().command {
        Command::Part(args) => part::run(&args),
        Command::Intake(setting) => claim::intake::run(&setting),
        Command::Append(setting) => claim::append::run(&setting),
        Command::NothingDue(setting) => claim::nothing_due::run(&setting),
        Command::Purge(setting) => claim::purge::run(&setting),
        Command::Open(setting) => claim::open::run(&setting),
        Command::Memory(setting) => claim::memory::run(&setting),
        Command::History(setting) => claim::history::run(&setting),
        Command::PolicyDiff(setting) => claim::policy_diff::run(&setting),
        Command::Filter(setting) => claim::filter::run(&setting),
        Command::Mail(setting) => claim::mail::run(&setting),
        Command::Evidence(setting) => claim::evidence::run(&setting),
        Command::All(setting) => claim::all(&setting),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            figure::say(&format!("failed: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}
