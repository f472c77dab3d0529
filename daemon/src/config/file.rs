//! `config.toml` as written. Nothing but [`super::check`] may use these types.
//!
//! Every key is optional here, so that a wrong one hides no other: what is required, and what stands in for a key that
//! is absent, is said in one place, the check.

use std::collections::BTreeMap;

use retention_core::event::notice::Thing;
use serde::Deserialize;
use toml::Spanned;

/// A value and where it stands.
pub(super) type Written<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) store: Store,
    pub(super) control: Control,
    pub(super) policies: Policies,
    pub(super) source: Vec<Spanned<Source>>,
    pub(super) activity: Vec<Spanned<Activity>>,
    pub(super) server: Vec<Spanned<Server>>,
    pub(super) export: Export,
    pub(super) subjects: Subjects,
    pub(super) backup: Option<Spanned<Backup>>,
    pub(super) audit: Audit,
    pub(super) notify: Vec<Spanned<Notify>>,
    pub(super) diagnostics: Diagnostics,
    pub(super) metrics: Metrics,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    pub(super) state_dir: Written<String>,
    pub(super) exports_dir: Written<String>,
    pub(super) root_key: Written<Secret>,
    pub(super) cache_bytes: Written<u64>,
    pub(super) memory_max_bytes: Written<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Secret {
    pub(super) credential: Option<String>,
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Control {
    pub(super) socket: Written<String>,
    pub(super) socket_group: Written<String>,
    pub(super) roles: Roles,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Roles {
    pub(super) auditor: Vec<Spanned<String>>,
    pub(super) operator: Vec<Spanned<String>>,
    pub(super) approver: Vec<Spanned<String>>,
    pub(super) admin: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policies {
    pub(super) dir: Written<String>,
    pub(super) timezone: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    pub(super) name: Written<String>,
    pub(super) kind: Written<SourceKind>,
    pub(super) drop_dir: Written<String>,
    pub(super) mapping: Written<String>,
    pub(super) zone: Written<String>,
    pub(super) delivers: Option<super::Delivers>,
    pub(super) max_bytes: Written<u64>,
    pub(super) keep_done: Written<String>,
    pub(super) keep_rejected: Written<String>,
    pub(super) mailbox: Option<String>,
    pub(super) encoding: Option<super::TextEncoding>,
    pub(super) delimiter: Option<super::Delimiter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Activity {
    pub(super) source: Written<String>,
    pub(super) kind: Written<String>,
    pub(super) field: Written<String>,
    pub(super) class: Written<String>,
    pub(super) classes: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    Ocm,
    Csv,
    Xlsx,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Export {
    pub(super) zone: Written<String>,
    pub(super) csv_profile: Option<super::CsvProfile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Subjects {
    pub(super) encrypt_to: Written<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) origin: Written<String>,
    pub(super) publish: Vec<Spanned<Published>>,
    pub(super) forward: Vec<Spanned<Forward>>,
    pub(super) witness: Vec<Spanned<Witness>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Witness {
    pub(super) name: Written<String>,
    pub(super) url: Written<String>,
    pub(super) key: Written<String>,
    pub(super) ca_file: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Published {
    pub(super) file: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) url: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) journal: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forward {
    pub(super) name: Written<String>,
    pub(super) kind: Written<ForwardKind>,
    pub(super) from: Option<super::ForwardFrom>,
    pub(super) socket: Written<String>,
    pub(super) tcp: Written<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ForwardKind {
    Journald,
    Syslog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backup {
    pub(super) dir: Written<String>,
    pub(super) keys_dir: Written<String>,
    pub(super) keep_keys: Written<String>,
    pub(super) erasures: Written<String>,
    pub(super) schedule: Written<String>,
    pub(super) recipients: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Diagnostics {
    pub(super) target: Option<super::DiagnosticsTarget>,
    pub(super) level: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) serve: Option<super::Metrics>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) name: Written<String>,
    pub(super) host: Written<String>,
    pub(super) port: Written<u64>,
    pub(super) tls: Option<super::MailTls>,
    pub(super) ca_file: Written<String>,
    pub(super) server_name: Written<String>,
    pub(super) max_connections: Written<u64>,
    pub(super) login: Written<String>,
    pub(super) separator: Written<String>,
    pub(super) domain: Written<String>,
    pub(super) admin: Written<Admin>,
    pub(super) doveadm: Written<Doveadm>,
    pub(super) batches: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) login: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Doveadm {
    pub(super) url: Option<String>,
    pub(super) tls: Written<super::MailTls>,
    pub(super) ca_file: Written<String>,
    pub(super) credential: Option<String>,
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notify {
    pub(super) name: Written<String>,
    pub(super) kind: Written<NotifyKind>,
    pub(super) things: Option<Vec<Thing>>,
    pub(super) before: Option<Vec<Spanned<String>>>,
    pub(super) recipient: Written<String>,
    pub(super) host: Written<String>,
    pub(super) port: Written<u64>,
    pub(super) tls: Option<super::MailTls>,
    pub(super) ca_file: Written<String>,
    pub(super) server_name: Written<String>,
    pub(super) login: Written<Admin>,
    pub(super) from: Written<String>,
    pub(super) to: Vec<Spanned<String>>,
    pub(super) url: Written<String>,
    pub(super) key: Written<Secret>,
    pub(super) command: Written<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NotifyKind {
    Mail,
    Webhook,
    Program,
}
