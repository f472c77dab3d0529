//! Keys that one may look for in a policy and that are not there, with what stands in their place.

/// Keys, each with what to do instead.
type Keys = &'static [(&'static str, &'static str)];

/// At the top of a file.
pub(super) const TOP: Keys = &[
    ("notify", ": who is told of what stands in [[notify]] of config.toml"),
    ("evidence", ": every purge has its receipt and stands in the signed log; leave it out"),
    ("holds", ": every hold is respected, and `hold release --delay` says how long it protects then; leave it out"),
    ("grant", ": write [access] with right, principals and max_duration"),
    ("imap", ": messages go one by one, by the date on which the server took them in, or not at all; leave it out"),
];

/// In `[export]`.
pub(super) const EXPORT: Keys = &[
    ("dest", ": every bundle is written into `exports_dir` of config.toml; leave it out"),
    ("format", ": write formats, a list, such as formats = [\"jsonl\", \"csv\"]"),
];

const OF_ACCESS: &str = ": it is about access to mailboxes, so it stands in [access]";

/// In `[action]`.
pub(super) const ACTION: Keys = &[
    ("verify_absent", ": that nothing is left is always verified; leave it out"),
    ("notify_recipients", ": who got copies is told by a [[notify]] with `recipient` in config.toml; leave it out"),
    ("keep_standing", OF_ACCESS),
    ("alarm_after", OF_ACCESS),
    ("reconcile_every", ": what servers show is compared with the log anyway; leave it out"),
    ("retry", ": what did not succeed is tried again until it does; leave it out"),
];

/// In `[approval]`.
pub(super) const APPROVAL: Keys =
    &[("approvers", ": write role = \"approver\" or \"admin\"; config.toml says who has a role")];

/// In `[access]`.
pub(super) const ACCESS: Keys = &[
    ("clock_starts", ": the time counts from when the access may be there; leave it out"),
    ("extend", ": a grant is renewed by `grant renew`, never beyond max_duration; leave it out"),
    ("eligible", ": who may be given access stands in principals"),
    ("auto_mapping", ": mail servers have nothing like it; leave it out"),
];
