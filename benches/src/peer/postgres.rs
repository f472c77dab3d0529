//! PostgreSQL 15 of Debian, started on a Unix socket in a directory of its own: `synchronous_commit` and `fsync` on, a
//! trigger that writes every row as jsonb into an audit table, unique external id, indexes on due date and kind.
//!
//! It reads files on its own side, already split into batches of 1,000; splitting them is not timed.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::data::{COLUMNS, Contact, Contacts};
use crate::figure::Stopwatch;

const BIN: &str = "/usr/lib/postgresql/15/bin";

const ROWS_PER_BATCH: u64 = 1_000;

/// More memory and a longer distance between checkpoints than Debian gives it: it must not lose by its defaults.
const SETTINGS: &str = "-c synchronous_commit=on -c fsync=on -c full_page_writes=on -c shared_buffers=512MB \
    -c max_wal_size=4GB -c listen_addresses=";

const TABLES: &str = "
    CREATE TABLE contact (
        external_id text NOT NULL, name text, email text, phone text, company text, city text, title text,
        created timestamptz, modified timestamptz, notes text,
        kind text NOT NULL DEFAULT 'contact',
        due date GENERATED ALWAYS AS (((modified AT TIME ZONE 'UTC') + interval '3 years')::date) STORED);
    CREATE UNIQUE INDEX ON contact (external_id);
    CREATE INDEX ON contact (due);
    CREATE INDEX ON contact (kind);
    CREATE TABLE audit (position bigserial, at timestamptz NOT NULL DEFAULT now(), operation text, content jsonb);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO audit (operation, content) VALUES (TG_OP, to_jsonb(OLD));
            RETURN OLD;
        END IF;
        INSERT INTO audit (operation, content) VALUES (TG_OP, to_jsonb(NEW));
        RETURN NEW;
    END $$;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON contact FOR EACH ROW EXECUTE FUNCTION audit();
";

/// The audit table as a chain of hashes, as it is usually done where a log must show that nothing was changed: each row
/// holds the hash of the row before it and of its own content. With the index that answers whose history it is.
const HASH_CHAIN: &str = "
    ALTER TABLE audit ADD PRIMARY KEY (position), ADD COLUMN hash bytea NOT NULL;
    CREATE INDEX ON audit ((content ->> 'external_id'));
    CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        subject jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
        before bytea := (SELECT hash FROM audit ORDER BY position DESC LIMIT 1);
    BEGIN
        INSERT INTO audit (operation, content, hash) VALUES
            (TG_OP, subject, sha256(coalesce(before, '') || convert_to(TG_OP || subject::text, 'UTF8')));
        RETURN NULL;
    END $$;
";

const CHECK_CHAIN: &str = "
    SET max_parallel_workers_per_gather = 0;
    DO $$ BEGIN
        IF EXISTS (
            SELECT FROM (
                SELECT hash, operation, content, lag(hash) OVER (ORDER BY position) AS before FROM audit) AS row
            WHERE hash <> sha256(coalesce(before, '') || convert_to(operation || content::text, 'UTF8')))
        THEN RAISE EXCEPTION 'the chain of hashes is broken';
        END IF;
    END $$;
";

/// A cluster of its own.
pub(crate) struct Postgres {
    dir: PathBuf,
    as_root: bool,
}

impl Postgres {
    /// Makes and starts it in a new directory.
    pub(crate) fn start(dir: &Path) -> Outcome<Self> {
        let postgres = Self { dir: dir.to_owned(), as_root: rustix::process::geteuid().is_root() };
        for sub in ["", "batch", "out"] {
            std::fs::create_dir(dir.join(sub))?;
            std::fs::set_permissions(dir.join(sub), Permissions::from_mode(0o777))?;
        }
        let data = dir.join("data");
        postgres.call("initdb", &["-A", "trust", "-U", "bench", "-D", &text(&data)])?;
        let options = format!("{SETTINGS} -k {}", text(dir));
        let log = text(&dir.join("log"));
        postgres.call("pg_ctl", &["-w", "-D", &text(&data), "-o", &options, "-l", &log, "start"])?;
        postgres.sql(TABLES)?;
        Ok(postgres)
    }

    /// As [`Self::start`], with an audit table whose rows are a chain of hashes.
    pub(crate) fn start_with_hash_chain(dir: &Path) -> Outcome<Self> {
        let postgres = Self::start(dir)?;
        postgres.sql(HASH_CHAIN)?;
        Ok(postgres)
    }

    /// Computes the chain of hashes anew, on one core. Returns the seconds.
    pub(crate) fn check_chain(&self) -> Outcome<f64> {
        self.sql(CHECK_CHAIN)
    }

    fn command(&self, program: &str) -> Command {
        let program = format!("{BIN}/{program}");
        if !self.as_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    }

    fn call(&self, program: &str, args: &[&str]) -> Outcome<()> {
        let mut command = self.command(program);
        let status = command.current_dir(&self.dir).args(args).stdout(Stdio::null()).stdin(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("{program} of PostgreSQL failed").into()) }
    }

    /// Runs a script and returns the seconds.
    fn sql(&self, script: &str) -> Outcome<f64> {
        let path = self.dir.join("script.sql");
        std::fs::write(&path, script)?;
        let host = text(&self.dir);
        let watch = Stopwatch::start();
        let args = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", &host, "-U", "bench", "-d", "postgres", "-f"];
        let mut command = self.command("psql");
        let status = command.args(args).arg(&path).stdout(Stdio::null()).status()?;
        let seconds = watch.seconds();
        if status.success() { Ok(seconds) } else { Err("a script of PostgreSQL failed".into()) }
    }

    /// Copies all contacts in, each batch its own transaction. Returns the seconds.
    pub(crate) fn intake(&self, rows: u64) -> Outcome<f64> {
        let (mut contacts, mut contact) = (Contacts::new(rows), Contact::default());
        let mut script = String::new();
        let columns = COLUMNS.join(", ").to_lowercase().replacen("id", "external_id", 1);
        for batch in 0..rows.div_ceil(ROWS_PER_BATCH) {
            let path = self.dir.join("batch").join(format!("{batch:07}.csv"));
            let mut out = BufWriter::new(File::create(&path)?);
            for _ in 0..ROWS_PER_BATCH {
                if contacts.next_into(&mut contact) {
                    writeln!(out, "{}", contact.line)?;
                }
            }
            out.flush()?;
            script.push_str(&format!("COPY contact ({columns}) FROM '{}' WITH (FORMAT csv);\n", text(&path)));
        }
        self.sql(&script)
    }

    /// Exports and deletes what is due. Returns the seconds.
    pub(crate) fn purge(&self) -> Outcome<f64> {
        let out = text(&self.dir.join("out").join("due.csv"));
        self.sql("ANALYZE contact;")?;
        // What the intake owes the disk is no part of what is measured.
        self.sql("CHECKPOINT;")?;
        rustix::fs::sync();
        self.sql(&format!(
            "BEGIN;\nCOPY (SELECT * FROM contact WHERE due < '2026-01-15') TO '{out}' WITH (FORMAT csv, HEADER);\n\
             DELETE FROM contact WHERE due < '2026-01-15';\nCOMMIT;\n"
        ))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = text(&self.dir.join("data"));
        // A cluster that does not stop is in a directory that is removed anyway.
        drop(self.call("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]));
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
