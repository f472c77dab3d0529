//! `retentionctl`: how people talk to retentiond. It asks over the Unix socket and renders what comes back.

use std::process;

use clap::FromArgMatches;

mod args;
mod client;
mod command;
mod exit;
mod render;
#[cfg(test)]
mod tests;

fn main() -> process::ExitCode {
    let parsed = args::command().try_get_matches().and_then(|matches| args::Args::from_arg_matches(&matches));
    let args = match parsed {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let code = match command::execute(args) {
        Ok(code) => code,
        Err(failure) => {
            #[expect(clippy::print_stderr, reason = "errors go to standard error")]
            {
                eprint!("{}", render::printable(&failure.message()));
            }
            failure.exit_code()
        }
    };
    process::ExitCode::from(code.number())
}
