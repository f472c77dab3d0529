//! The commands, one file for each noun, and what they share.

use std::io::{self, IsTerminal, StdoutLock};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use retention_core::control::{
    Cursor, ErrorBody, ErrorCode, ExitCode, Line, ListQuery, Operation, Progress, StreamEnd,
};
use serde_json::Value;

use crate::args::{Args, Globals, Noun, Part};
use crate::client::{Call, Client};
use crate::exit::{Cause, Failure};
use crate::render::{Renderer, printable};

mod audit;
mod backup;
mod batch;
mod certificate;
mod clock;
mod document;
mod entity;
mod export;
mod files;
mod grant;
mod hold;
mod intake;
mod key;
mod mailbox;
mod manual;
mod notice;
mod plan;
mod policy;
mod quarantine;
mod restriction;
mod review;
mod run;
mod schedule;
mod status;
mod store;
mod subject;

/// Does what the command line says.
pub(crate) fn execute(args: Args) -> Result<ExitCode, Failure> {
    let mut context = Context::of(args.globals)?;
    match args.noun {
        Noun::Status => status::status(&mut context),
        Noun::Config(command) => status::config(&mut context, command),
        Noun::Policy(command) => policy::execute(&mut context, command),
        Noun::Explain(entity) => policy::explain(&mut context, entity),
        Noun::Document(command) => document::execute(&mut context, command),
        Noun::Intake(command) => intake::execute(&mut context, command),
        Noun::Entity(command) => entity::execute(&mut context, command),
        Noun::Plan(command) => plan::execute(&mut context, command),
        Noun::Review(command) => review::execute(&mut context, command),
        Noun::Run(command) => run::execute(&mut context, command),
        Noun::Hold(command) => hold::execute(&mut context, command),
        Noun::Subject(command) => subject::execute(&mut context, *command),
        Noun::Restriction(command) => restriction::execute(&mut context, command),
        Noun::Pause(args) => hold::pause(&mut context, Operation::Pause, args),
        Noun::Resume(args) => hold::pause(&mut context, Operation::Resume, args),
        Noun::Export(command) => export::execute(&mut context, command),
        Noun::Quarantine(command) => quarantine::execute(&mut context, command),
        Noun::Mailbox(command) => mailbox::execute(&mut context, command),
        Noun::Grant(command) => grant::execute(&mut context, command),
        Noun::Clock(command) => clock::execute(&mut context, command),
        Noun::Notice(command) => notice::execute(&mut context, command),
        Noun::Audit(command) => audit::execute(&mut context, command),
        Noun::Certificate(command) => certificate::execute(&mut context, command),
        Noun::Backup(command) => backup::execute(&mut context, command),
        Noun::Key(command) => key::execute(&mut context, command),
        Noun::Store(command) => store::execute(&mut context, command),
        Noun::Schedule(command) => schedule::execute(&mut context, command),
        Noun::Batch(command) => batch::execute(&mut context, *command),
        Noun::Completions { shell } => manual::completions(&mut context, shell),
        Noun::Man { dir } => manual::man(&dir),
    }
}

/// What a command works with.
struct Context {
    client: Client,
    renderer: Renderer<io::BufWriter<StdoutLock<'static>>>,
    globals: Globals,
}

impl Context {
    fn of(globals: Globals) -> Result<Self, Failure> {
        let client = Client::at(&globals.socket).map_err(|cause| Failure { doing: "start", cause })?;
        Ok(Self { client, renderer: Renderer::to_stdout(&globals), globals })
    }

    /// Asks for one value and shows it.
    fn show(&mut self, call: &Call) -> Result<Value, Cause> {
        let value = self.client.one(call)?;
        self.present(&value)?;
        Ok(value)
    }

    /// Asks for one value about an entity and shows it, or what is left to say when it was purged.
    fn show_entity(&mut self, call: &Call) -> Result<ExitCode, Cause> {
        match self.show(call) {
            Ok(_) => Ok(ExitCode::Done),
            Err(Cause::Answer(ErrorBody { gone: Some(tombstone), .. })) => {
                self.say(&tombstone.to_string());
                self.present(&serde_json::to_value(tombstone).map_err(|_| Cause::Unreadable)?)?;
                Ok(ExitCode::Gone)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Shows one value.
    fn present(&mut self, value: &Value) -> Result<(), Cause> {
        self.renderer.one(value)?;
        self.renderer.flush()
    }

    /// Streams a list, and says where it goes on when a limit cut it.
    fn list(&mut self, call: &Call, columns: &'static [&'static str]) -> Result<StreamEnd, Cause> {
        self.list_as(call, columns, Ok)
    }

    /// Streams a list with each row made into something else.
    fn list_as(
        &mut self,
        call: &Call,
        columns: &'static [&'static str],
        form: impl Fn(Value) -> Result<Value, Cause>,
    ) -> Result<StreamEnd, Cause> {
        let mut list = self.renderer.list(columns);
        let bar = Bar::new(&self.globals);
        let end = bar.over(&self.client, call, |bar, row| bar.suspend(|| list.row(&form(row)?)))?;
        list.end()?;
        if end.rows == 0 && self.renderer.is_for_people() {
            self.say("nothing");
        }
        if let Some(Cursor(next)) = end.next {
            // A script that pages has no other way to learn it.
            self.note(&format!("there is more: --after {next}"));
        }
        Ok(end)
    }

    /// Streams the plain list of an operation.
    fn plain_list(
        &mut self,
        operation: Operation,
        part: Part,
        columns: &'static [&'static str],
    ) -> Result<ExitCode, Cause> {
        self.list(&Call::to(operation, &[]).asking(&query(part)), columns)?;
        Ok(ExitCode::Done)
    }

    /// Says what to do next.
    fn next(&self, command: &str) {
        self.say(&format!("next: {command}"));
    }

    /// Says something beside the answer, unless it should be quiet.
    fn say(&self, text: &str) {
        if io::stderr().is_terminal() {
            self.note(text);
        }
    }

    /// Says something beside the answer that programs want to know as well, unless it should be quiet.
    fn note(&self, text: &str) {
        if !self.globals.quiet {
            #[expect(clippy::print_stderr, reason = "what is said beside the answer goes to standard error")]
            {
                eprintln!("{}", printable(text));
            }
        }
    }
}

/// Returns the query for a part of a list.
fn query(part: Part) -> ListQuery {
    ListQuery { after: part.after.map(Cursor), limit: part.limit }
}

/// Returns a text of an answer, or nothing.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An error that the tool itself finds.
fn refuse(code: ErrorCode, message: impl Into<String>) -> Cause {
    Cause::Answer(ErrorBody::saying(code, message))
}

/// A progress bar on standard error, if that is a terminal. Nothing is drawn before the first progress is told: drawn
/// again behind each row, an empty bar would flicker, and on a narrow terminal leave itself behind.
struct Bar {
    bar: ProgressBar,
    is_wanted: bool,
}

impl Bar {
    fn new(globals: &Globals) -> Self {
        let is_wanted = !globals.quiet && io::stderr().is_terminal();
        Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()), is_wanted }
    }

    /// Hands over the rows of a stream and shows its progress meanwhile. It is gone when the stream has ended.
    fn over(
        self,
        client: &Client,
        call: &Call,
        mut each: impl FnMut(&ProgressBar, Value) -> Result<(), Cause>,
    ) -> Result<StreamEnd, Cause> {
        let end = client.stream(call, |line| match line {
            Line::Row(row) => each(&self.bar, row),
            Line::Progress(progress) => {
                self.show(&progress);
                Ok(())
            }
            Line::Error(_) | Line::End(_) => Ok(()),
        });
        self.bar.finish_and_clear();
        end
    }

    fn show(&self, progress: &Progress) {
        if self.is_wanted && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let Some(total) = progress.total
            && self.bar.length() != Some(total)
        {
            let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {msg} {eta}");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_length(total);
        }
        self.bar.set_message(printable(&progress.unit));
        self.bar.set_position(progress.done);
    }
}

/// The columns of every list, for the test that compares them with the wire types.
#[cfg(test)]
pub(crate) struct Columns {
    pub(crate) policy: &'static [&'static str],
    pub(crate) policy_diff: &'static [&'static str],
    pub(crate) policy_coverage: &'static [&'static str],
    pub(crate) intake: &'static [&'static str],
    pub(crate) intake_left: &'static [&'static str],
    pub(crate) entity: &'static [&'static str],
    pub(crate) plan: &'static [&'static str],
    pub(crate) plan_item: &'static [&'static str],
    pub(crate) review: &'static [&'static str],
    pub(crate) run: &'static [&'static str],
    pub(crate) incident: &'static [&'static str],
    pub(crate) hold: &'static [&'static str],
    pub(crate) subject: &'static [&'static str],
    pub(crate) subject_request: &'static [&'static str],
    pub(crate) request_record: &'static [&'static str],
    pub(crate) restriction: &'static [&'static str],
    pub(crate) export: &'static [&'static str],
    pub(crate) quarantine: &'static [&'static str],
    pub(crate) mailbox: &'static [&'static str],
    pub(crate) mailbox_check: &'static [&'static str],
    pub(crate) migration: &'static [&'static str],
    pub(crate) permission: &'static [&'static str],
    pub(crate) grant: &'static [&'static str],
    pub(crate) notice: &'static [&'static str],
    pub(crate) audit: &'static [&'static str],
    pub(crate) checkpoint: &'static [&'static str],
    pub(crate) signing_key: &'static [&'static str],
    pub(crate) backup: &'static [&'static str],
    pub(crate) store: &'static [&'static str],
    pub(crate) schedule: &'static [&'static str],
}

#[cfg(test)]
pub(crate) fn columns() -> Columns {
    Columns {
        policy: policy::COLUMNS,
        policy_diff: policy::DIFF_COLUMNS,
        policy_coverage: policy::COVERAGE_COLUMNS,
        intake: intake::COLUMNS,
        intake_left: intake::LEFT_COLUMNS,
        entity: entity::COLUMNS,
        plan: plan::COLUMNS,
        plan_item: plan::ITEM_COLUMNS,
        review: review::COLUMNS,
        run: run::COLUMNS,
        incident: run::INCIDENT_COLUMNS,
        hold: hold::COLUMNS,
        subject: subject::FOUND_COLUMNS,
        subject_request: subject::COLUMNS,
        request_record: subject::RECORD_COLUMNS,
        restriction: restriction::COLUMNS,
        export: export::COLUMNS,
        quarantine: quarantine::COLUMNS,
        mailbox: mailbox::COLUMNS,
        mailbox_check: mailbox::CHECK_COLUMNS,
        migration: mailbox::MIGRATION_COLUMNS,
        permission: mailbox::PERMISSION_COLUMNS,
        grant: grant::COLUMNS,
        notice: notice::COLUMNS,
        audit: audit::COLUMNS,
        checkpoint: audit::CHECKPOINT_COLUMNS,
        signing_key: audit::KEY_COLUMNS,
        backup: backup::COLUMNS,
        store: store::COLUMNS,
        schedule: schedule::COLUMNS,
    }
}
