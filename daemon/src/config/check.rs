//! The file as written → [`Config`], or every error at once, each with its line.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use retention_core::id::Digest;
use retention_core::record::activity::ActivityRules;
use retention_core::schedule::Schedule;
use retention_core::time::Zone;
use toml::Spanned;

use super::file::{self, Written};
use super::problem::{ConfigError, Problems};
use super::{
    Backup, Config, Control, CsvProfile, Delivers, Diagnostics, DiagnosticsTarget, Export, KeepDone, MailServer,
    Member, Metrics, Policies, PublishTo, Roles, SecretPlace, Source, SourceKind, Store, overlap, reading,
};
use crate::diagnostics::Redacted;
use crate::keyholders::Keyholders;

mod activity;
mod forward;
mod notify;
mod server;
mod subjects;
mod witness;

const MIB: u64 = 1024 * 1024;

/// Below this sled reads from disk for every block; above it nothing more was gained when it was measured.
const CACHE_BYTES: RangeInclusive<u64> = 8 * MIB..=16 * 1024 * MIB;
const CACHE_BYTES_DEFAULT: u64 = 16 * MIB;

/// The views of a hundred thousand entities need the lower bound; the upper one catches a slip of the pen.
const MEMORY_BYTES: RangeInclusive<u64> = 64 * MIB..=1024 * 1024 * MIB;
const MEMORY_BYTES_DEFAULT: u64 = 1024 * MIB;

/// One delivery: the upper bound keeps byte offsets far from any overflow.
const DELIVERY_BYTES: RangeInclusive<u64> = 1..=1024 * 1024 * MIB;
const DELIVERY_BYTES_DEFAULT: u64 = 2 * 1024 * MIB;

/// The kernel takes 107 bytes and a terminator for the name of a Unix socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Long enough for any name, short enough for a table.
const NAME_BYTES_MAX: usize = 64;

/// A hundred years: what is meant to stay longer is `forever`.
const KEEP_DONE_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// How long a key that was destroyed may live on in a copy: two weeks.
const KEEP_KEYS_DEFAULT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Long enough for any host and path; it stands in every checkpoint and in every message to a SIEM.
const ORIGIN_BYTES_MAX: usize = 128;

const SOCKET_DEFAULT: &str = "/run/retentiond/control.sock";
const LEVEL_DEFAULT: &str = "info";

pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ConfigError::of_file(path, format!("is not UTF-8 after byte {}", error.valid_up_to())))?;
    let mut problems = Problems::of(text);
    let Some((file, excused)) = reading::read(text, &mut problems) else { return problems.or(path, None) };
    let mut check = Check { base: path.parent().unwrap_or(Path::new("/")), problems, excused };
    let config = check.config(file, path, Digest::of(bytes));
    check.problems.or(path, config)
}

struct Check<'t> {
    /// What relative paths are relative to.
    base: &'t Path,
    problems: Problems<'t>,
    /// Keys that are absent because what was written for them was wrong, which is already said.
    excused: BTreeSet<String>,
}

impl Check<'_> {
    fn config(&mut self, file: file::File, path: &Path, digest: Digest) -> Option<Config> {
        let store = self.store(file.store);
        let control = self.control(file.control);
        let policies = self.policies(file.policies);
        let zone = policies.as_ref().map_or(TimeZone::UTC, |policies| policies.timezone.clone());
        let spans: Vec<Range<usize>> = file.source.iter().map(Spanned::span).collect();
        let names: Vec<String> =
            file.source.iter().filter_map(|source| Some(source.get_ref().name.as_ref()?.get_ref().clone())).collect();
        let activities = Arc::new(self.activities(file.activity, &names));
        let read = |source| self.source(source, &zone, &activities);
        let sources: Vec<Option<Source>> = file.source.into_iter().map(read).collect();
        let servers = self.servers(file.server);
        let export = Export {
            zone: self.zone(file.export.zone).unwrap_or_else(|| zone.clone()),
            csv_profile: file.export.csv_profile.unwrap_or(CsvProfile::Exact),
        };
        let subjects = self.subjects(file.subjects);
        let backup = file.backup.map(|backup| self.backup(backup, &zone));
        let origin = file.audit.origin.and_then(|origin| self.origin(origin));
        let publish: Vec<_> = file.audit.publish.into_iter().map(|place| self.published(place)).collect();
        let forward = self.forwards(file.audit.forward);
        let witnesses = self.witnesses(file.audit.witness);
        let notify = self.channels(file.notify);
        let diagnostics = self.diagnostics(file.diagnostics);
        self.unique_names(&sources, &spans, servers.as_deref().unwrap_or_default());
        let config = Config {
            path: path.to_owned(),
            digest,
            store: store?,
            control: control?,
            policies: policies?,
            sources: sources.into_iter().collect::<Option<_>>()?,
            servers: servers?,
            export,
            subjects,
            backup: match backup {
                Some(backup) => Some(backup?),
                None => None,
            },
            origin,
            publish: publish.into_iter().collect::<Option<_>>()?,
            forward: forward?,
            witnesses: witnesses?,
            notify: notify?,
            diagnostics,
            metrics: file.metrics.serve.unwrap_or(Metrics::Socket),
        };
        for (source, message) in overlap::find(&config) {
            match source.and_then(|index| spans.get(index)) {
                Some(span) => self.problems.add(span.clone(), message),
                None => self.problems.add_to_file(message),
            }
        }
        Some(config)
    }

    fn store(&mut self, store: file::Store) -> Option<Store> {
        let state_dir = self.required_path(store.state_dir, "store.state_dir");
        let exports_dir = self.path(store.exports_dir).or_else(|| Some(state_dir.as_ref()?.join("exports")));
        let root_key = match store.root_key {
            Some(root_key) => self.secret("the root key", root_key.span(), root_key.into_inner()),
            None => self.missing(
                "store.root_key",
                "write root_key = { credential = \"retentiond-root-key\" }, or { file = \"…\" }",
            ),
        };
        let cache = store.cache_bytes.as_ref().map_or(0..0, Spanned::span);
        let cache_bytes = self.number(store.cache_bytes, &CACHE_BYTES, CACHE_BYTES_DEFAULT);
        let memory_max_bytes = self.number(store.memory_max_bytes, &MEMORY_BYTES, MEMORY_BYTES_DEFAULT);
        if cache_bytes > memory_max_bytes / 2 {
            self.problems.add(cache, "cache_bytes takes more than half of memory_max_bytes; the views need the rest");
        }
        Some(Store {
            state_dir: state_dir?,
            exports_dir: exports_dir?,
            root_key: root_key?,
            cache_bytes,
            memory_max_bytes,
        })
    }

    fn secret(&mut self, what: &str, span: Range<usize>, written: file::Secret) -> Option<SecretPlace> {
        match (written.credential, written.file) {
            (Some(name), None) if is_name(&name) => Some(SecretPlace::Credential(name)),
            (Some(_), None) => self.refuse(span, "a credential's name has only letters, digits, '-', '_' and '.'"),
            (None, Some(file)) if !file.is_empty() => Some(SecretPlace::File(self.absolute(&file))),
            _ => self.refuse(span, format!("{what} comes from exactly one place: a credential or a file")),
        }
    }

    fn control(&mut self, control: file::Control) -> Option<Control> {
        let span = control.socket.as_ref().map_or(0..0, Spanned::span);
        let socket = self.path(control.socket).unwrap_or_else(|| PathBuf::from(SOCKET_DEFAULT));
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let message = format!("the name of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes");
            return self.refuse(span, message);
        }
        let socket_group = control.socket_group.and_then(|group| {
            if is_account(group.get_ref()) {
                return Some(group.into_inner());
            }
            self.refuse(group.span(), "not the name of a group")
        });
        let roles = Roles {
            auditor: self.members(control.roles.auditor),
            operator: self.members(control.roles.operator),
            approver: self.members(control.roles.approver),
            admin: self.members(control.roles.admin),
        };
        Some(Control { socket, socket_group, roles })
    }

    fn members(&mut self, written: Vec<Spanned<String>>) -> Vec<Member> {
        written
            .into_iter()
            .filter_map(|member| {
                parse_member(member.get_ref()).or_else(|| {
                    self.refuse(
                        member.span(),
                        "not a user: write a name, a number as \"uid:1000\", or a group as \"@staff\"",
                    )
                })
            })
            .collect()
    }

    fn policies(&mut self, policies: file::Policies) -> Option<Policies> {
        let timezone = match policies.timezone {
            Some(zone) => self.zone(Some(zone)).unwrap_or(TimeZone::UTC),
            None => TimeZone::UTC,
        };
        Some(Policies { dir: self.required_path(policies.dir, "policies.dir")?, timezone })
    }

    fn source(
        &mut self,
        written: Spanned<file::Source>,
        zone: &TimeZone,
        activities: &Arc<ActivityRules>,
    ) -> Option<Source> {
        let span = written.span();
        let source = written.into_inner();
        let name = match source.name {
            Some(name) if is_name(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(
                name.span(),
                format!("a source's name has 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.', and starts with none of these signs"),
            ),
            None => self.source_without("name", span.clone(), ""),
        };
        let drop_dir = match source.drop_dir {
            Some(dir) => self.path(Some(dir)),
            None => self.source_without("drop_dir", span.clone(), ""),
        };
        let mapping = source.mapping.as_ref().map(Spanned::span);
        let mapping = (mapping, self.path(source.mapping));
        let kind = match source.kind {
            Some(kind) => self.kind(kind, mapping, source.encoding, source.delimiter),
            None => self.source_without("kind", span, ": ocm, csv or xlsx"),
        };
        // Where an export was made nobody can guess; what the daemon counts in is nothing to go by.
        let guessed = (!matches!(kind, Some(SourceKind::Ocm))).then(|| zone.clone());
        let zone = self.zone(source.zone).or(guessed);
        let max_bytes = self.number(source.max_bytes, &DELIVERY_BYTES, DELIVERY_BYTES_DEFAULT);
        let [keep_done, keep_rejected] = [source.keep_done, source.keep_rejected].map(|written| {
            written.map_or(KeepDone::Forever, |written| {
                parse_keep_done(written.get_ref()).unwrap_or_else(|message| {
                    self.problems.add(written.span(), message);
                    KeepDone::Forever
                })
            })
        });
        Some(Source {
            name: name?,
            kind: kind?,
            drop_dir: drop_dir?,
            zone,
            delivers: source.delivers.unwrap_or(Delivers::Snapshot),
            max_bytes,
            keep_done,
            keep_rejected,
            mailbox: source.mailbox.map(Redacted),
            activities: Arc::clone(activities),
        })
    }

    fn kind(
        &mut self,
        kind: Spanned<file::SourceKind>,
        (mapping_span, mapping): (Option<Range<usize>>, Option<PathBuf>),
        encoding: Option<super::TextEncoding>,
        delimiter: Option<super::Delimiter>,
    ) -> Option<SourceKind> {
        let span = kind.span();
        let only_csv = encoding.is_some() || delimiter.is_some();
        match (*kind.get_ref(), mapping) {
            (file::SourceKind::Ocm | file::SourceKind::Xlsx, _) if only_csv => {
                self.refuse(span, "`encoding` and `delimiter` belong to sources of the kind csv")
            }
            (file::SourceKind::Ocm, None) if mapping_span.is_none() => Some(SourceKind::Ocm),
            (file::SourceKind::Ocm, _) => {
                self.refuse(mapping_span.unwrap_or(span), "an ocm source needs no mapping: its columns are known")
            }
            (file::SourceKind::Csv, Some(mapping)) => Some(SourceKind::Csv { mapping, encoding, delimiter }),
            (file::SourceKind::Xlsx, Some(mapping)) => Some(SourceKind::Xlsx { mapping }),
            (file::SourceKind::Csv | file::SourceKind::Xlsx, None) => {
                self.refuse(span, "this source needs a `mapping`: the file that says which column is which field")
            }
        }
    }

    fn unique_names(&mut self, sources: &[Option<Source>], spans: &[Range<usize>], servers: &[Arc<MailServer>]) {
        let mut seen = BTreeSet::new();
        for (source, span) in sources.iter().zip(spans) {
            let Some(source) = source else { continue };
            if !seen.insert(source.name.as_str()) {
                self.problems.add(span.clone(), format!("another source is already called `{}`", source.name));
            }
            // A server is the source of its messages.
            if servers.iter().any(|server| server.name == source.name) {
                self.problems.add(span.clone(), format!("a server is already called `{}`", source.name));
            }
        }
    }

    fn origin(&mut self, written: Spanned<String>) -> Option<String> {
        if is_origin(written.get_ref()) {
            return Some(written.into_inner());
        }
        self.refuse(
            written.span(),
            format!(
                "a log is called like a URL without its scheme, such as logs.example.org/retention: letters, digits, '-', '.', '_', '~', ':' and '/', at most {ORIGIN_BYTES_MAX}"
            ),
        )
    }

    fn published(&mut self, written: Spanned<file::Published>) -> Option<PublishTo> {
        let span = written.span();
        let place = written.into_inner();
        let ca_file = place.ca_file.filter(|file| !file.is_empty()).map(|file| self.absolute(&file));
        if ca_file.is_some() && place.url.is_none() {
            return self.refuse(span, "`ca_file` belongs to a place with a `url`");
        }
        match (place.file, place.command, place.journal, place.url) {
            (None, None, None, Some(url)) if server::is_protected_url(&url) => {
                Some(PublishTo::Web(Redacted(url), ca_file))
            }
            (None, None, None, Some(_)) => {
                self.refuse(span, "a place has a URL with https://, or http:// on this machine itself")
            }
            (Some(file), None, None, None) if !file.is_empty() => Some(PublishTo::File(self.absolute(&file))),
            (None, Some(mut command), None, None) if command.first().is_some_and(|program| program.starts_with('/')) => {
                let program = command.remove(0);
                Some(PublishTo::Command(program, command))
            }
            (None, None, Some(true), None) => Some(PublishTo::Journal),
            _ => self.refuse(
                span,
                "a place is exactly one of { file = \"…\" }, { command = [\"/…\", …] } with an absolute path, { url = \"https://…\" }, or { journal = true }",
            ),
        }
    }

    fn backup(&mut self, written: Spanned<file::Backup>, zone: &TimeZone) -> Option<Backup> {
        let span = written.span();
        let backup = written.into_inner();
        let keep_keys = match backup.keep_keys {
            None => KEEP_KEYS_DEFAULT,
            Some(keep) => match parse_keep_done(keep.get_ref()) {
                Ok(KeepDone::For(keep)) => keep,
                Ok(KeepDone::Forever) => {
                    let message = "a key that is destroyed lives on in the copies: give them an end, such as \"P14D\"";
                    self.refuse(keep.span(), message)?
                }
                Err(message) => self.refuse(keep.span(), message)?,
            },
        };
        let mut required = |written: Written<String>, key: &str| {
            if written.is_none() {
                self.problems.add(span.clone(), format!("`backup.{key}` is missing"));
            }
            self.path(written)
        };
        let dir = required(backup.dir, "dir");
        let keys_dir = required(backup.keys_dir, "keys_dir");
        let erasures = self.path(backup.erasures);
        let zone = zone.iana_name().and_then(|name| name.parse().ok()).unwrap_or_else(Zone::utc);
        let schedule = match backup.schedule {
            None => None,
            Some(line) => match Schedule::parse(line.get_ref(), zone) {
                Ok(schedule) => Some(schedule),
                Err(error) => self.refuse(line.span(), error.to_string())?,
            },
        };
        let recipients = match backup.recipients {
            None => Keyholders::default(),
            Some(keys) => match Keyholders::read(keys.get_ref()) {
                Ok(holders) if holders.is_empty() => {
                    self.refuse(keys.span(), "this names nobody: leave `recipients` out, and nothing is encrypted")?
                }
                Ok(holders) => holders,
                Err(error) => self.refuse(keys.span(), error.to_string())?,
            },
        };
        Some(Backup { dir: dir?, keys_dir: keys_dir?, keep_keys, erasures, schedule, recipients })
    }

    fn diagnostics(&mut self, diagnostics: file::Diagnostics) -> Diagnostics {
        let level = diagnostics.level.map_or_else(
            || LEVEL_DEFAULT.to_owned(),
            |level| {
                if crate::diagnostics::parse_level(level.get_ref()).is_none() {
                    let message = "not a level: write error, warn, info, debug or trace, or a list such as \
                                   \"info,retentiond::store=debug\"";
                    self.problems.add(level.span(), message);
                }
                level.into_inner()
            },
        );
        Diagnostics { target: diagnostics.target.unwrap_or(DiagnosticsTarget::Auto), level }
    }

    fn number(&mut self, written: Written<u64>, range: &RangeInclusive<u64>, default: u64) -> u64 {
        let Some(number) = written else { return default };
        if !range.contains(number.get_ref()) {
            let message = format!("out of range: write a number of bytes from {} to {}", range.start(), range.end());
            self.problems.add(number.span(), message);
        }
        number.into_inner()
    }

    fn zone(&mut self, written: Written<String>) -> Option<TimeZone> {
        let zone = written?;
        match TimeZone::get(zone.get_ref()) {
            Ok(found) => Some(found),
            Err(_) => self.refuse(zone.span(), "unknown time zone: write a name such as Europe/Prague or UTC"),
        }
    }

    fn path(&mut self, written: Written<String>) -> Option<PathBuf> {
        let path = written?;
        let text = path.get_ref();
        if text.is_empty() || text.contains('\0') {
            return self.refuse(path.span(), "a path must not be empty, and holds no NUL");
        }
        if text == "~" || text.starts_with("~/") || text.starts_with('$') {
            return self
                .refuse(path.span(), "no shell reads this, so nothing is put in for `~` or `$`: write the whole path");
        }
        Some(self.absolute(path.get_ref()))
    }

    fn required_path(&mut self, written: Written<String>, key: &str) -> Option<PathBuf> {
        match written {
            Some(_) => self.path(written),
            None => self.missing(key, "it has no default"),
        }
    }

    fn absolute(&self, path: &str) -> PathBuf {
        overlap::without_dots(&self.base.join(path))
    }

    fn missing<T>(&mut self, key: &str, what: &str) -> Option<T> {
        if !self.excused.contains(key.rsplit('.').next().unwrap_or(key)) {
            self.problems.add_to_file(format!("`{key}` is missing; {what}"));
        }
        None
    }

    fn source_without<T>(&mut self, key: &str, span: Range<usize>, what: &str) -> Option<T> {
        if !self.excused.contains(key) {
            self.problems.add(span, format!("this source has no `{key}`{what}"));
        }
        None
    }

    fn refuse<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.problems.add(span, message);
        None
    }
}

/// Says whether a log can have this name: what a key of a signed note cannot have is in none of these signs.
fn is_origin(text: &str) -> bool {
    let sign = |byte: u8| matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/');
    (1..=ORIGIN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || sign(byte))
        && !text.bytes().next().is_some_and(sign)
        && !text.contains("://")
}

fn is_name(text: &str) -> bool {
    let sign = |byte: u8| matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || sign(byte))
        && !text.bytes().next().is_some_and(sign)
}

fn is_account(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'\\' | b'$');
    first && name.len() <= NAME_BYTES_MAX && name.bytes().all(rest)
}

fn parse_member(text: &str) -> Option<Member> {
    if let Some(uid) = text.strip_prefix("uid:") {
        return uid.bytes().all(|byte| byte.is_ascii_digit()).then(|| uid.parse().ok().map(Member::Uid))?;
    }
    match text.strip_prefix('@') {
        Some(group) => is_account(group).then(|| Member::Group(group.to_owned())),
        None => is_account(text).then(|| Member::User(text.to_owned())),
    }
}

fn parse_keep_done(text: &str) -> Result<KeepDone, &'static str> {
    const MESSAGE: &str = "write \"forever\", or a length of whole weeks, days or hours such as \"P30D\" or \"PT12H\"";
    if text == "forever" {
        return Ok(KeepDone::Forever);
    }
    let span: jiff::Span = text.parse().map_err(|_| MESSAGE)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length here; write days, such as \"P30D\"");
    }
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| MESSAGE)?;
    let length = Duration::try_from(length).map_err(|_| "the length is negative; write it without a sign")?;
    if length > KEEP_DONE_MAX {
        return Err("longer than a hundred years; write \"forever\"");
    }
    Ok(KeepDone::For(length))
}
