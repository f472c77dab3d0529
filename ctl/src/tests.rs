//! The tool against a small server on a socket of its own, and its columns against the wire types.

use std::path::PathBuf;
use std::sync::mpsc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use clap::Parser;
use retention_core::control::{
    ActorName, Cursor, ErrorBody, ErrorCode, ExitCode, Line, NDJSON, Operation, Progress, StreamEnd,
};
use retention_core::event::Actor;
use retention_core::time::Timestamp;
use serde_json::{Value, json};

use crate::args::Args;
use crate::client::{Call, Client};
use crate::exit::Cause;

/// A server that answers everything in the same way, for as long as it lives.
struct Fake {
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
    socket: PathBuf,
}

impl Fake {
    fn answering(status: u16, kind: &'static str, body: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let router = Router::new().fallback(any(move || async move {
            (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], body.clone()).into_response()
        }));
        let (ready, is_ready) = mpsc::channel();
        let path = socket.clone();
        runtime.spawn(async move {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            ready.send(()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        is_ready.recv().unwrap();
        Self { _runtime: runtime, _dir: dir, socket }
    }

    fn lines(lines: &[Line<Value>], rest: &str) -> Self {
        let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        Self::answering(200, NDJSON, text + rest)
    }

    fn stream(&self) -> (Vec<Value>, Result<StreamEnd, Cause>) {
        let client = Client::at(&self.socket).unwrap();
        let mut rows = Vec::new();
        let end = client.stream(&Call::to(Operation::PlanList, &[]), |line| {
            if let Line::Row(row) = line {
                rows.push(row);
            }
            Ok(())
        });
        (rows, end)
    }

    fn run(&self, words: &[&str]) -> ExitCode {
        let socket = self.socket.to_str().unwrap();
        let fixed = ["retentionctl", "--quiet", "--output", "jsonl", "--socket", socket];
        let words = fixed.iter().chain(words);
        match crate::command::execute(Args::parse_from(words)) {
            Ok(code) => code,
            Err(failure) => {
                assert!(failure.message().starts_with("error: failed to "), "{}", failure.message());
                failure.exit_code()
            }
        }
    }
}

fn end(rows: u64) -> Line<Value> {
    Line::End(StreamEnd { rows, next: Some(Cursor(9)), ended: None })
}

#[test]
fn every_error_code_becomes_its_exit_code() {
    for &code in ErrorCode::ALL {
        let body = serde_json::to_string(&ErrorBody::of(code)).unwrap();
        let fake = Fake::answering(code.http_status(), "application/json", body);
        assert_eq!(fake.run(&["plan", "show", "P7"]), ExitCode::from(code), "{code}, one value");
        assert_eq!(fake.run(&["plan", "list"]), ExitCode::from(code), "{code}, a list");
    }
}

#[test]
fn a_stream_ends_only_with_its_last_line() {
    let row = Line::Row(json!({"plan": "P7"}));
    let (rows, whole) = Fake::lines(&[row.clone(), end(1)], "").stream();
    assert_eq!((rows.len(), whole.unwrap().next), (1, Some(Cursor(9))));
    let (rows, cut) = Fake::lines(std::slice::from_ref(&row), "").stream();
    assert!(matches!(cut, Err(Cause::Cut)) && rows.len() == 1);
    let (_, half) = Fake::lines(std::slice::from_ref(&row), r#"{"row":{"pl"#).stream();
    assert!(matches!(half, Err(Cause::Cut)));
    let (_, strange) = Fake::lines(&[], "<html>\n").stream();
    assert!(matches!(strange, Err(Cause::Unreadable)));
}

#[test]
fn following_ends_well_only_where_the_daemon_or_the_caller_ended_it() {
    let asked = ["audit", "query", "--follow"];
    let row = Line::Row(json!({"position": 7, "kind": "PlanFrozen"}));
    let looked = Line::Progress(Progress { unit: "events".to_owned(), done: 9, total: None });
    assert_eq!(Fake::lines(&[row.clone(), looked.clone(), end(1)], "").run(&asked), ExitCode::Done);
    assert_eq!(Fake::lines(&[row, looked], "").run(&asked), ExitCode::Unreachable, "it broke off");
    let strange = Line::Row(json!({"kind": "PlanFrozen"}));
    assert_eq!(Fake::lines(&[strange, end(1)], "").run(&asked), ExitCode::Unexpected, "nobody knows where it stands");
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_the_answer() {
    let error = Line::Error(ErrorBody::of(ErrorCode::VerificationFailed));
    let fake = Fake::lines(&[Line::Row(json!({"part": "journal", "state": "intact"})), error], "");
    assert_eq!(fake.run(&["store", "verify"]), ExitCode::VerificationFailed);
}

#[test]
fn a_part_that_is_damaged_is_a_failed_verification() {
    let part = |state: &str| Line::Row(json!({"part": "journal", "state": state, "checked": 3, "code": null}));
    assert_eq!(Fake::lines(&[part("intact"), end(1)], "").run(&["store", "verify"]), ExitCode::Done);
    assert_eq!(Fake::lines(&[part("damaged"), end(1)], "").run(&["store", "verify"]), ExitCode::VerificationFailed);
}

#[test]
fn a_plan_that_could_not_be_made_is_refused_and_nothing_unexpected() {
    // What was accepted and what became of it, in one answer.
    let plan = json!({
        "position": 7, "plan": "P7", "policy": "a", "purpose": "run", "requested_by": ActorName(Actor::Daemon),
        "requested_at": Timestamp(0), "state": "refused", "refusal": "policy_is_a_draft", "frozen": null,
        "approvals": [], "run": null,
    });
    let fake = Fake::answering(200, "application/json", plan.to_string());
    assert_eq!(fake.run(&["plan", "make", "a"]), ExitCode::Done, "it is asked for");
    assert_eq!(fake.run(&["plan", "make", "a", "--wait"]), ExitCode::Usage);
}

#[test]
fn nothing_due_is_told_only_when_asked_for() {
    let fake = Fake::lines(&[Line::Row(json!({"policy": "a", "due": 0})), end(1)], "");
    assert_eq!(fake.run(&["schedule", "next"]), ExitCode::Done);
    assert_eq!(fake.run(&["schedule", "next", "--exit-code"]), ExitCode::NothingDue);
}

#[test]
fn no_daemon_is_its_own_exit_code() {
    let fake = Fake::answering(200, "application/json", String::new());
    let nowhere = Fake { socket: fake.socket.with_file_name("nobody.sock"), ..fake };
    assert_eq!(nowhere.run(&["status"]), ExitCode::Unreachable);
}

#[test]
fn an_invalid_configuration_ends_with_its_code() {
    let finding = json!({"severity": "error", "file": "config.toml", "line": 3, "column": 1, "message": "unknown key"});
    let fake = Fake::answering(200, "application/json", json!({"findings": [finding]}).to_string());
    assert_eq!(fake.run(&["config", "check"]), ExitCode::Invalid);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn no_answer_makes_the_client_panic(body in "[\\{\\}\\[\\]\":a-z0-9\n,]{0,300}") {
        let fake = Fake::answering(200, NDJSON, body);
        let _ = fake.stream();
    }
}

#[test]
fn man_pages_and_completions_are_made_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::answering(500, "text/plain", String::new());
    assert_eq!(fake.run(&["man", dir.path().to_str().unwrap()]), ExitCode::Done);
    let page = std::fs::read_to_string(dir.path().join("retentionctl-plan-make.1")).unwrap();
    assert!(page.contains("Needs the role operator"), "{page}");
}

#[test]
fn policies_are_checked_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broken.toml"), "schema = 1\n[policy]\ntitel = 3\n").unwrap();
    std::fs::write(dir.path().join("README.md"), "not a policy").unwrap();
    let fake = Fake::answering(500, "text/plain", String::new());
    let path = dir.path().to_str().unwrap();
    assert_eq!(fake.run(&["policy", "check", path]), ExitCode::Invalid);
    assert_eq!(fake.run(&["policy", "test", path]), ExitCode::Invalid);
    assert_eq!(fake.run(&["policy", "check", "/nowhere"]), ExitCode::Usage);
}

#[test]
fn documents_are_written_without_a_daemon_when_a_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let policies = dir.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let fake =
        Fake::answering(503, "application/json", serde_json::to_string(&ErrorBody::of(ErrorCode::Stopping)).unwrap());
    let path = policies.to_str().unwrap();
    assert_eq!(fake.run(&["policy", "new", "leads", "--dir", path]), ExitCode::Done);
    for document in ["ropa", "deletion-concept", "privacy-notice"] {
        assert_eq!(fake.run(&["document", document, path]), ExitCode::Done);
        assert_eq!(fake.run(&["document", document, path, "--format", "csv"]), ExitCode::Done);
        assert_eq!(fake.run(&["document", document, "/nowhere"]), ExitCode::Usage);
        assert_eq!(fake.run(&["document", document]), ExitCode::from(ErrorCode::Stopping), "the daemon is asked");
    }
    std::fs::write(policies.join("broken.toml"), "schema = 1\n").unwrap();
    assert_eq!(fake.run(&["document", "ropa", path]), ExitCode::Invalid);
}

/// Fails when a column names a field that no row of the list has.
fn has_columns<T: utoipa::ToSchema>(columns: &[&str]) {
    let schema = serde_json::to_value(T::schema()).unwrap();
    for column in columns {
        let field = column.split('.').next().unwrap_or(column);
        assert!(schema["properties"].get(field).is_some(), "{} has no {field}", T::name());
    }
}

#[test]
fn every_column_is_a_field_of_its_rows() {
    use retention_core::control as wire;
    let columns = crate::command::columns();
    has_columns::<wire::PolicyRow>(columns.policy);
    has_columns::<wire::PolicyDiffRow>(columns.policy_diff);
    has_columns::<wire::CoverageRow>(columns.policy_coverage);
    has_columns::<wire::IntakeRow>(columns.intake);
    has_columns::<wire::EntryLeftRow>(columns.intake_left);
    has_columns::<wire::EntityRow>(columns.entity);
    has_columns::<wire::PlanRow>(columns.plan);
    has_columns::<wire::PlanItemRow>(columns.plan_item);
    has_columns::<wire::ReviewItemRow>(columns.review);
    has_columns::<wire::RunRow>(columns.run);
    has_columns::<wire::IncidentPart>(columns.incident);
    has_columns::<wire::HoldRow>(columns.hold);
    has_columns::<wire::SubjectRow>(columns.subject);
    has_columns::<wire::SubjectRequestRow>(columns.subject_request);
    has_columns::<wire::RequestRecordRow>(columns.request_record);
    has_columns::<wire::RestrictionRow>(columns.restriction);
    has_columns::<wire::ExportRow>(columns.export);
    has_columns::<wire::QuarantineRow>(columns.quarantine);
    has_columns::<wire::MailboxRow>(columns.mailbox);
    has_columns::<wire::MailboxFinding>(columns.mailbox_check);
    has_columns::<wire::PermissionRow>(columns.permission);
    has_columns::<wire::GrantRow>(columns.grant);
    has_columns::<wire::NoticeRow>(columns.notice);
    has_columns::<wire::EventRow>(columns.audit);
    has_columns::<wire::CheckpointRow>(columns.checkpoint);
    has_columns::<wire::SigningKeyRow>(columns.signing_key);
    has_columns::<wire::MigrationRow>(columns.migration);
    has_columns::<wire::BackupRow>(columns.backup);
    has_columns::<wire::PartRow>(columns.store);
    has_columns::<wire::ScheduleRow>(columns.schedule);
}
