//! The daemon's binary: the command line in, an exit code out.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use retentiond::config::{Config, Environment};
use retentiond::supervise::args::{Args, Command, ConfigCommand, StoreCommand};
use retentiond::supervise::exit::Exit;
use retentiond::supervise::{daemon, offline};

fn main() -> ExitCode {
    let args = Args::parse();
    let exit = match args.asked() {
        Command::Config { command: ConfigCommand::Check } => check_config(&args),
        Command::Init => with_config(&args, |config| offline::init(&config)),
        Command::Store { command: StoreCommand::Verify } => with_config(&args, |config| offline::verify(&config)),
        Command::Store { command: StoreCommand::Rebuild } => with_config(&args, |config| offline::rebuild(&config)),
        Command::Man { dir } => man(&dir),
        Command::Run => with_config(&args, |config| daemon::run(config, &Environment::read())),
    };
    exit.into()
}

fn check_config(args: &Args) -> Exit {
    with_config(args, |config| {
        say(&format!(
            "{}: good, {} sources, digest {}",
            config.path.display(),
            config.sources.len(),
            config.digest.short()
        ));
        Exit::Done
    })
}

fn man(dir: &Path) -> Exit {
    match clap_mangen::generate_to(Args::command(), dir) {
        Ok(()) => Exit::Done,
        Err(error) => {
            say(&format!("{}: the man pages cannot be written: {error}", dir.display()));
            Exit::Unexpected
        }
    }
}

fn with_config(args: &Args, work: impl FnOnce(Config) -> Exit) -> Exit {
    match Config::load(&args.config) {
        Ok(config) => work(config),
        Err(error) => {
            say(&error.to_string());
            Exit::Invalid
        }
    }
}

/// Writes to standard error. When nobody reads it, nothing can be said and nothing is lost.
fn say(line: &str) {
    let _unread = writeln!(io::stderr().lock(), "{line}");
}
