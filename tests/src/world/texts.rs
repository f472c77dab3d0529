//! Policies as a person would write them.

/// A policy that purges contacts a year after their creation.
#[must_use]
pub fn policy(id: &str, quarantine: &str) -> String {
    format!(
        r#"schema = 1
[policy]
id = "{id}"
title = "A policy"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
data_class = "contact"
state = "enforce"
[scope]
kind = "contact"
match_all = true
[retention]
period = "P1Y"
start = "created"
on_missing_start = "keep"
timezone = "Etc/UTC"
[schedule]
cron = "on_demand"
[limits]
max_items = 100
max_percent = 100
[export]
required = true
formats = ["jsonl", "csv"]
[action]
kind = "purge"
quarantine = "{quarantine}"
[approval]
required = true
count = 1
valid_for = "P1D"
[[test]]
record = {{ created = 2020-01-01T00:00:00Z }}
at = 2026-01-01
expect = "due"
"#
    )
}

/// A policy that purges the messages of one folder a year after they were received, unless they are flagged.
#[must_use]
pub fn mail_policy(folder: &str, form: &str, quarantine: &str) -> String {
    format!(
        r#"schema = 1
[policy]
id = "mail"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
state = "enforce"
[scope]
kind = "message"
where = {{ all = [
    {{ field = "folder", op = "eq", value = "{folder}" }},
    {{ not = {{ field = "flags", op = "eq", value = "flagged" }} }},
] }}
[retention]
period = "P1Y"
start = "received"
timezone = "Etc/UTC"
[schedule]
cron = "on_demand"
[limits]
max_percent = 100
[export]
formats = ["jsonl", "csv", "{form}"]
[action]
kind = "purge"
quarantine = "{quarantine}"
[approval]
required = true
count = 1
valid_for = "P1D"
"#
    )
}
