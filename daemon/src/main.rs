//! The daemon's binary: the command line in, an exit code out.

use std::io::{self, Write as _};
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use retention_core::control::ExitCode;
use retentiond::config::{Config, Environment, named_file_problems, unwise_places};
use retentiond::control::unknown_accounts;
use retentiond::stage::intake::mapping_problems;
use retentiond::supervise::args::{Args, Command, ConfigCommand, StoreCommand};
use retentiond::supervise::{daemon, memory, offline};

fn main() -> std::process::ExitCode {
    memory::keep_pages_small();
    let args = Args::parse();
    let exit = match args.asked() {
        Command::Config { command: ConfigCommand::Check } => check_config(&args),
        Command::Init => with_config(&args, |config| offline::init(&config)),
        Command::Restore(asked) => with_config(&args, |config| offline::restore(&config, asked)),
        Command::Store { command: StoreCommand::Verify } => with_config(&args, |config| offline::verify(&config)),
        Command::Store { command: StoreCommand::Rebuild } => with_config(&args, |config| offline::rebuild(&config)),
        Command::Store { command: StoreCommand::Compact } => with_config(&args, |config| offline::compact(&config)),
        Command::Man { dir } => man(&dir),
        Command::Run => with_config(&args, |config| daemon::run(config, &Environment::read())),
    };
    exit.number().into()
}

fn check_config(args: &Args) -> ExitCode {
    with_config(args, |config| {
        let problems = mapping_problems(&config.sources);
        for (mapping, problem) in &problems {
            say(&format!("{}: {problem}", mapping.display()));
        }
        if !problems.is_empty() {
            return ExitCode::Invalid;
        }
        for (path, problem) in named_file_problems(&config) {
            say(&format!("warning: {}: {problem}", path.display()));
        }
        for warning in unknown_accounts(&config.control).into_iter().chain(unwise_places(&config)) {
            say(&format!("warning: {warning}"));
        }
        say(&format!(
            "{}: good, {} sources, digest {}",
            config.path.display(),
            config.sources.len(),
            config.digest.short()
        ));
        ExitCode::Done
    })
}

fn man(dir: &Path) -> ExitCode {
    match clap_mangen::generate_to(Args::command(), dir) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            say(&format!("{}: the man pages cannot be written: {error}", dir.display()));
            ExitCode::Unexpected
        }
    }
}

fn with_config(args: &Args, work: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match Config::load(&args.config) {
        Ok(config) => work(config),
        Err(error) => {
            say(&error.to_string());
            ExitCode::Invalid
        }
    }
}

/// Writes to standard error. When nobody reads it, nothing can be said and nothing is lost.
fn say(line: &str) {
    let _unread = writeln!(io::stderr().lock(), "{line}");
}
