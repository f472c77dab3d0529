//! Reading files: what is refused, where, and with which advice.

use proptest::prelude::*;

use super::*;

macro_rules! shipped {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../../policies/", $name, ".toml")).to_owned())),*]
    };
}

fn shipped() -> [(&'static str, String); 12] {
    shipped!(
        "audit-events",
        "crm-activities",
        "crm-closed-deals",
        "crm-closed-deals-out-of-use",
        "crm-deals-without-persons",
        "crm-insights",
        "crm-prospects",
        "de-vouchers",
        "demo-ocm-contacts",
        "mailbox-fullaccess",
        "old-mail",
        "old-mail-of-leavers"
    )
}

#[test]
fn the_shipped_policies_load_and_keep_their_own_examples() {
    let set = set(&shipped());
    assert_eq!(show(&set.failing_examples()), "");
    for policy in set.policies() {
        // One that gives access disposes of nothing, so it has no examples.
        assert!(policy.access.is_some() || policy.examples.len() >= 3, "{}", policy.id);
        assert!(policy.run_examples().iter().all(|outcome| outcome.passed));
    }
}

#[test]
fn what_people_wrote_in_the_log_stays_for_a_year_at_least_and_goes_as_a_whole() {
    let month = [("kind = \"contact\"", "kind = \"audit_month\""), (WHERE, "match_all = true")];
    let closed = ("start = \"created\"", "start = \"closed\"");
    let with = |more: &[(&str, &str)]| errors(&[&month, &[closed][..], more].concat());
    assert_eq!(one(&[&month[..], &[closed]].concat()).retention.start, StartKind::Closed);
    let shorter = "[[retention.override]]\nwhere = { field = \"month\", op = \"eq\", value = \"2026-11\" }\nperiod = \"P30D\"\n\n[schedule]";
    for (more, said) in [
        (("P1Y", "P11M"), "must be at least P1Y for kind = \"audit_month\""),
        (("P1Y", "P365D"), "must be at least P1Y"),
        (("[schedule]", shorter), "must be at least P1Y"),
        (("start = \"closed\"", "start = \"closed\"\nmax_keep = \"P2Y\""), "`max_keep` stands in no policy with kind"),
        (("kind = \"purge\"", "kind = \"restrict\""), "must be purge or review"),
        (("kind = \"audit_month\"", "kind = [\"audit_month\", \"deal\"]"), "write a policy of its own"),
    ] {
        let found = with(&[more]);
        assert!(found.starts_with("p.toml:") && found.contains(said), "{more:?}: {found}");
    }
    let found = errors(&month);
    assert!(found.contains("the period counts from the end of the month"), "{found}");
}

#[test]
fn limits_export_and_approval_hold_without_their_tables() {
    let policy = one(&[]);
    assert_eq!(policy.limits, Limits::STANDARD);
    assert!(policy.export.formats.contains(&ExportFormat::Jsonl));
    let week = 7 * 86_400_000;
    let standard = Approval::Required { count: 1, role: ApproverRole::Approver, valid_for_ms: week };
    assert_eq!(policy.approval, standard);
    assert_eq!(policy.action, Action::Purge { quarantine: "P30D".parse().unwrap() });
    assert_eq!(policy.trigger, Trigger::OnDemand);
}

#[test]
fn unknown_keys_are_errors_with_their_place_and_a_suggestion() {
    assert_eq!(
        errors(&[("timezone =", "timezome =")]),
        "p.toml:13:1: `timezone` is missing in [retention]: days begin and end somewhere\n\
         p.toml:16:1: unknown key `timezome` in [retention]: did you mean `timezone`?"
    );
    assert_eq!(
        errors(&[("period =", "perid =")]),
        "p.toml:13:1: `period` is missing in [retention]\n\
         p.toml:14:1: unknown key `perid` in [retention]: did you mean `period`?"
    );
    let beside = errors(&[("kind = \"contact\"", "knid = \"contact\""), ("start =", "min_kep = \"P1Y\"\nstart =")]);
    assert!(beside.contains("did you mean `kind`?") && beside.contains("did you mean `min_keep`?"), "{beside}");
    assert!(errors(&[("[action]", "[actoin]")]).contains("unknown key `actoin` in the file: did you mean `action`?"));
    assert!(errors(&[("op = \"eq\"", "op = \"eq\", valeu = 1")]).contains("unknown key `valeu` in where"));
}

#[test]
fn no_source_is_never_every_source() {
    let with = |source: &str| errors(&[("kind = \"contact\"", &format!("kind = \"contact\"\nsource = {source}"))]);
    assert_eq!(with("[]"), "p.toml:11:10: `source` names no source: leave it out to mean all of them");
    for empty in ["\"\"", "[\"crm\", \" \"]"] {
        assert!(with(empty).contains("`source` has an empty name"), "{empty}");
    }
}

#[test]
fn all_errors_of_all_files_come_at_once() {
    let first = text("a", &[("P1Y", "P1Z"), ("on_demand", "0 3 * * 1"), ("purge", "burn")]);
    let second = text("b", &[("contact", "contract"), ("state = \"enforce\"", "state = \"enforced\"")]);
    let files = [PolicyFile { stem: "b", text: &second }, PolicyFile { stem: "a", text: &first }];
    let errors = PolicySet::check(&files).unwrap_err();
    let shown = show(&errors);
    for part in [
        "a.toml:14:10: `period` is not a period",
        "a.toml:19:8: `cron` is refused: weekdays are written as names",
        "a.toml:22:8: `kind` must be purge",
        "b.toml:7:9: `state` must be one of draft, simulate, enforce: did you mean `enforce`?",
        "b.toml:10:8: `kind` has an unknown kind: did you mean `contact`?",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_rate_is_items_in_a_time() {
    let of = |rate: &str| ("[action]", format!("[limits]\nrate = {rate}\n\n[action]"));
    for bad in ["\"0/s\"", "\"20 per s\"", "\"20/d\"", "\"1000001/s\"", "\"/s\"", "20"] {
        let (from, to) = of(bad);
        let found = errors(&[(from, &to)]);
        assert!(found.starts_with("p.toml:2") && found.contains("rate"), "{found}");
    }
    for (good, together, after_120) in
        [("\"20/s\"", 1_200, 6_000), ("\"100/min\"", 100, 72_000), ("\"30/h\"", 1, 14_400_000)]
    {
        let (from, to) = of(good);
        let policy = one(&[(from, &to)]);
        let rate = policy.limits.rate.unwrap();
        assert_eq!((rate.together(), rate.next_at(Timestamp(0), 120)), (together, Timestamp(after_120 * 1_000)));
        assert_ne!(policy.digest(), one(&[]).digest());
    }
    let most = Rate { items: 1, per_ms: u32::MAX };
    assert_eq!(most.next_at(Timestamp(i64::MAX), u64::MAX), Timestamp(i64::MAX));
}

#[test]
fn parts_of_the_later_language_are_refused_by_name() {
    for (old, new, what) in [
        ("[action]", "[notify]\nbefore = [\"P1D\"]\n[action]", "notify"),
        ("[action]", "[evidence]\n[action]", "evidence"),
        ("\"purge\"", "\"anonymise\"", "anonymise"),
        ("schema = 1", "schema = 2", "schema"),
        ("[action]", "[limits]\nconcurrency = 2\n[action]", "concurrency"),
        (WHERE, "where = { field = \"created\", op = \"older_than\", value = \"P1Y\" }", "older_than"),
    ] {
        let shown = errors(&[(old, new)]);
        assert!(shown.contains(&format!("`{what}` is not supported by this version")), "{what}: {shown}");
    }
    // Each says what to do instead.
    for (old, new, instead) in [
        ("[action]", "[notify]\nbefore = [\"P1D\"]\n[action]", "[[notify]] of config.toml"),
        ("[action]", "[holds]\nrespect = true\n[action]", "hold release --delay"),
        ("[action]\n", "[action]\nverify_absent = true\n", "always verified"),
        ("\"purge\"", "\"anonymise\"", "kind = \"redact\" with `fields`"),
        ("\"purge\"", "\"revoke\"", "a policy with [access]"),
        ("[action]", "[approval]\napprovers = \"finance\"\n[action]", "write role"),
    ] {
        let shown = errors(&[(old, new)]);
        assert!(shown.contains("is not supported by this version: ") && shown.contains(instead), "{shown}");
    }
    let shown = errors(&[("[action]", "[limits]\nconcurrency = 1\n[action]")]);
    assert!(shown.contains("p.toml:22:15: ") && shown.contains("`max_connections` in config.toml"), "{shown}");
    assert!(!shown.contains("unknown key"), "{shown}");
    one(&[("state = ", "lock = \"none\"\nstate = ")]);
}

/// A policy that gives access, as far as the table that says to whom.
const ACCESS_HEAD: &str = r#"schema = 1
[policy]
id = "p"
title = "Access"
owner = "security@example.org"
legal_basis = "GDPR 32"
data_class = "access.mailbox"
state = "enforce"
"#;

#[test]
fn a_policy_that_gives_access_disposes_of_nothing() {
    let access = "[access]\nright = \"full_access\"\nprincipals = [\"helpdesk\"]\nmax_duration = \"PT8H\"\n";
    let gives = set(&[("p", format!("{ACCESS_HEAD}{access}")), ("crm", text("crm", &[]))]);
    let policy = gives.get("p").expect("a policy");
    assert!(policy.access.is_some());
    let mut old = Entity::buyer("2001-01-01");
    old.layout.kind = Kind::Mailbox;
    let now = at("2026-01-01");
    let decided = gives.decide_for("p", &old.facts(), &Standing::FREE, now).expect("a decision");
    assert_eq!(decided.outcome, Outcome::Keep);
    let disposal = text("p", &[]);
    let disposal =
        disposal[disposal.find("[scope]").expect("a scope")..disposal.find("[action]").expect("an action")].to_owned();
    let read = PolicySet::check(&[PolicyFile { stem: "p", text: &format!("{ACCESS_HEAD}{access}{disposal}") }]);
    let shown = show(&read.expect_err("it says two things"));
    for name in ["scope", "retention", "schedule"] {
        assert!(shown.contains(&format!("`[{name}] beside [access]` is not supported")), "{shown}");
    }
}

/// A policy whose runs take access to the mailboxes in which they work.
const TAKES_ACCESS: &str = r#"schema = 1
[policy]
id = "p"
title = "Old mail"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
state = "enforce"
lock = "ratchet"
[scope]
kind = "message"
match_all = true
[retention]
period = "P1Y"
start = "received"
timezone = "Europe/Paris"
[schedule]
cron = "on_demand"
[action]
kind = "purge"
[access]
right = "full_access"
principal = "migration.admin@example.org"
max_duration = "PT2H"
alarm_after = "PT10M"
"#;

fn taking(changes: &[(&str, &str)]) -> Result<PolicySet, Vec<PolicyError>> {
    let mut text = TAKES_ACCESS.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    PolicySet::check(&[PolicyFile { stem: "p", text: &text }])
}

#[test]
fn a_policy_that_purges_messages_may_say_which_access_its_runs_take() {
    let read = taking(&[]).expect("a policy");
    let policy = read.get("p").expect("a policy");
    let access = policy.run_access.as_ref().expect("access");
    assert_eq!(
        (access.principal.as_str(), access.max_ms, access.alarm_after_ms),
        ("migration.admin@example.org", 7_200_000, 600_000)
    );
    assert!(policy.access.is_none(), "nobody can ask for it");
    assert!(
        !format!("{policy:?} {access:?}").contains("migration"),
        "whose access it is is nobody's business in a log"
    );
    // Each part of it is a part of what an approval accepts, and the default is as if it were written.
    for (old, new) in [("migration", "other"), ("PT2H", "PT1H"), ("PT10M", "PT9M")] {
        assert_ne!(
            taking(&[(old, new)]).expect("a policy").get("p").expect("a policy").digest(),
            policy.digest(),
            "{new}"
        );
    }
    let written = taking(&[("PT10M", "PT15M")]).expect("a policy");
    let left_out = taking(&[("alarm_after = \"PT10M\"\n", "")]).expect("a policy");
    assert_eq!(written.get("p").expect("a policy").digest(), left_out.get("p").expect("a policy").digest());
}

#[test]
fn slips_in_the_access_of_runs_are_told() {
    let table = "right = \"full_access\"\nprincipal = \"migration.admin@example.org\"\nmax_duration = \"PT2H\"\nalarm_after = \"PT10M\"\n";
    for (old, new, part) in [
        ("principal = \"migration.admin@example.org\"\n", "", "`principal` is missing in [access]: say to whom"),
        (
            "principal = \"migration.admin@example.org\"",
            "principals = [\"a\", \"b\"]",
            "`principals beside [action]` is not supported",
        ),
        ("\"migration.admin@example.org\"", "[\"a\"]", "`principal` must be a string"),
        ("migration.admin@example.org", "anyone", "names more than one principal"),
        ("migration.admin@example.org", "", "empty"),
        ("max_duration = \"PT2H\"\n", "", "`max_duration` is missing in [access]: say for how long"),
        ("PT2H", "P32D", "at most P31D"),
        ("PT2H", "PT0S", "at most P31D"),
        ("right = \"full_access\"\n", "", "`right` is missing in [access]"),
        ("[access]\n", "[access]\nticket = \"required\"\n", "`ticket beside [action]` is not supported"),
        ("[access]\n", "[access]\nstanding = \"P90D\"\n", "`standing beside [action]` is not supported"),
        ("[access]\n", "[access]\nprincipl = \"a\"\n", "did you mean `principal`?"),
        ("\"message\"", "\"contact\"", "`[access] beside another kind` is not supported"),
        (
            table,
            &format!("{table}[approval]\nrequired = false\n"),
            "`[access] beside [approval] required = false` is not supported",
        ),
    ] {
        let shown = show(&taking(&[(old, new)]).expect_err(new));
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let file =
        format!("{ACCESS_HEAD}[access]\nright = \"full_access\"\nprincipal = \"helpdesk\"\nmax_duration = \"PT8H\"\n");
    let shown = show(&PolicySet::check(&[PolicyFile { stem: "p", text: &file }]).expect_err("it lists nobody"));
    assert!(shown.contains("`principal without [action]` is not supported"), "{shown}");
}

#[test]
fn the_runs_of_a_locked_policy_take_no_more_access_and_for_no_longer() {
    let active = taking(&[]).expect("a policy");
    let table = &TAKES_ACCESS[TAKES_ACCESS.find("[access]").expect("a table")..];
    for tightened in [taking(&[("PT2H", "PT1H")]), taking(&[("PT10M", "PT1M")]), taking(&[(table, "")])] {
        let tightened = tightened.expect("a policy");
        assert_eq!(show(&tightened.loosened(&active)), "");
        assert!(show(&active.loosened(&tightened)).contains("[access]"));
    }
    let other = taking(&[("migration.admin", "other")]).expect("a policy");
    assert!(show(&other.loosened(&active)).contains("[access]"));
}

#[test]
fn a_locked_policy_gives_access_to_no_more_and_for_no_longer() {
    let head = ACCESS_HEAD.replace("state = ", "lock = \"ratchet\"\nstate = ");
    let before =
        "principals = [\"helpdesk\", \"audit\"]\nmax_duration = \"PT8H\"\nticket = \"required\"\nstanding = \"P90D\"";
    let of = |text: &str| set(&[("p", format!("{head}[access]\nright = \"full_access\"\n{text}\n"))]);
    let active = of(before);
    let tightened = before.replace(", \"audit\"", "").replace("PT8H", "PT1H");
    assert_eq!(show(&of(&tightened).loosened(&active)), "");
    for (old, new) in [
        ("\"audit\"", "\"audit\", \"mallory\""),
        ("PT8H", "PT9H"),
        ("ticket = \"required\"", "ticket = \"optional\""),
        ("ticket = ", "alarm_after = \"P1D\"\nticket = "),
        ("P90D", "P9D"),
        ("\nstanding = \"P90D\"", ""),
    ] {
        let loosened = show(&of(&before.replace(old, new)).loosened(&active));
        assert!(loosened.contains("[access]"), "{new}: {loosened}");
    }
}

#[test]
fn slips_in_who_may_be_given_access_are_told() {
    let file = |text: &str| format!("{ACCESS_HEAD}[access]\n{text}\n");
    let good = "right = \"full_access\"\nprincipals = [\"helpdesk\"]\nmax_duration = \"PT8H\"";
    let read = |text: &str| PolicySet::check(&[PolicyFile { stem: "p", text }]);
    assert!(read(&file(good)).is_ok());
    let access = |text: &str| show(&read(&file(text)).unwrap_err());
    for (old, new, part) in [
        ("\"full_access\"", "\"fullaccess\"", "did you mean `full_access`?"),
        ("[\"helpdesk\"]", "[]", "must name between 1 and 1000"),
        ("[\"helpdesk\"]", "\"helpdesk\"", "must be a list"),
        ("helpdesk", "anyone", "names more than one principal"),
        ("helpdesk", "-helpdesk", "names more than one principal"),
        ("PT8H", "P1Y", "at most P31D"),
        ("PT8H", "PT0S", "at most P31D"),
        ("right = ", "tickets = \"required\"\nright = ", "unknown key `tickets` in [access]: did you mean `ticket`?"),
    ] {
        let shown = access(&good.replace(old, new));
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn slips_of_the_pen_are_refused() {
    for (old, new, part) in [
        (WHERE, "", "`where` is missing"),
        (WHERE, "where = {}", "`where` is missing"),
        (WHERE, "where = { all = [] }", "is empty"),
        (WHERE, "match_all = true\nwhere = { field = \"notes\", op = \"absent\" }", "beside match_all"),
        (WHERE, "where = { all = [], any = [] }", "more than one of"),
        ("P1Y", "P0D", "at least a day"),
        ("P1Y", "PT12H", "at least a day"),
        ("P1Y", "P1DT1H", "never both"),
        ("P1Y", "P99999Y", "`period` is longer than 1000 years"),
        ("P1Y\"", "P1Y\"\nmin_keep = \"PT1H\"", "at least a day"),
        ("\"created\"", "\"creation\"", "did you mean `created`?"),
        ("\"created\"", "\"event:\"", "must name the event"),
        ("start = \"created\"", "start = \"created\"\non_missing_start = \"fallback:created\"", "start itself"),
        ("Europe/Paris", "Europe/Pari", "not a time zone"),
        ("owner = \"dpo@example.org\"", "", "`owner` is missing"),
        ("legal_basis = \"GDPR 5(1)(e)\"", "", "`legal_basis` is missing"),
        ("id = \"p\"", "id = \"q\"", "must be the name of the file"),
        ("[action]", "[limits]\nmax_percent = 101\n[action]", "between 0 and 100"),
        ("[action]", "[limits]\nmax_drift_percent = 101\n[action]", "between 0 and 100"),
        ("[action]", "[limits]\nmax_items = 0\n[action]", "between 1"),
        ("[action]", "[limits]\nmax_items = -1\n[action]", "between 1"),
        ("[action]", "[export]\nrequired = false\n[action]", "nothing is purged without a verified export"),
        ("[action]", "[export]\nformats = [\"csv\"]\n[action]", "must have jsonl"),
        ("[action]", "[export]\nverify = [\"count\"]\n[action]", "all three"),
        ("[action]", "[approval]\ncount = 0\n[action]", "between 1 and 10"),
        ("[action]", "[approval]\nvalid_for = \"P1M\"\n[action]", "weeks, days or exact"),
        ("cron = \"on_demand\"", "cron = \"0 3 * * sun\"", "`timezone` is missing in [schedule]"),
        ("schema = 1\n", "", "`schema` is missing"),
        ("schema = 1\n", "schema = 1\nschema = 1\n", "not TOML"),
    ] {
        let shown = errors(&[(old, new)]);
        assert!(shown.contains(part), "{new}: {shown}");
    }
}

#[test]
fn filters_are_checked_against_the_fields_of_each_kind() {
    for (leaf, part) in [
        ("field = \"job_titel\", op = \"absent\"", "unknown field `job_titel` for contact: did you mean `job_title`?"),
        ("field = \"email\", op = \"absent\"", "unknown field `email` for contact: did you mean `email1`?"),
        ("field = \"custom.\", op = \"absent\"", "unknown field"),
        ("field = \"job_title\", op = \"ne\", value = \"x\"", "any element"),
        ("field = \"job_title\", op = \"gt\", value = 3", "operator `gt` does not fit `job_title`, which is a list"),
        ("field = \"persona_id\", op = \"eq\", value = 3", "must be a string, not integer"),
        ("field = \"persona_id\", op = \"eq\"", "`value` is missing"),
        ("field = \"persona_id\", op = \"absent\", value = 1", "does not belong to `absent`"),
        ("field = \"shared\", op = \"eq\", value = \"true\"", "must be true or false"),
        ("field = \"open_deals\", op = \"gt\", value = \"0\"", "must be a number"),
        ("field = \"birthday\", op = \"lt\", value = 2020-01-01", "which is a date"),
        ("field = \"birthday\", op = \"before\", value = 2020-01-01T10:00:00", "not an instant"),
        ("field = \"visibility\", op = \"eq\", value = \"privat\"", "did you mean `private`?"),
        ("field = \"notes\", op = \"matches\", value = \"(\"", "not a regular expression"),
        ("field = \"notes\", op = \"matches\", value = '(\\w{900}){900}'", "too large"),
        ("field = \"notes\", op = \"in\", value = []", "1 to 1000"),
    ] {
        let shown = errors(&[(WHERE, &format!("where = {{ {leaf} }}"))]);
        assert!(shown.contains(part), "{leaf}: {shown}");
    }
    let both = errors(&[("\"contact\"", "[\"contact\", \"deal\"]"), ("job_title", "amount")]);
    assert!(both.contains("unknown field `amount` for contact"), "{both}");
    let types = errors(&[("\"contact\"", "[\"contact\", \"company\"]"), ("job_title", "display_name")]);
    assert!(types.contains("different types"), "{types}");
    one(&[("\"contact\"", "[\"contact\", \"company\"]"), ("job_title", "notes")]);
}

#[test]
fn deep_and_wide_filters_are_refused() {
    let deep =
        format!("where = {}{}{}", "{ not = ".repeat(17), "{ field = \"notes\", op = \"absent\" }", " }".repeat(17));
    assert!(errors(&[(WHERE, &deep)]).contains("nested too deeply"));
    let wide = format!("where = {{ any = [{}] }}", "{ field = \"notes\", op = \"absent\" },".repeat(257));
    assert!(errors(&[(WHERE, &wide)]).contains("at most 256"));
}

#[test]
fn files_and_sets_have_a_size() {
    let long = format!("# {}\n{WHOLE}", "x".repeat(FILE_BYTES_MAX));
    let errors = PolicySet::check(&[PolicyFile { stem: "p", text: &long }]).unwrap_err();
    assert!(show(&errors).contains("too large"));
    let many = vec![PolicyFile { stem: "p", text: WHOLE }; FILES_MAX + 1];
    assert!(show(&PolicySet::check(&many).unwrap_err()).contains("1000 files"));
    let twice = vec![PolicyFile { stem: "p", text: WHOLE }; 2];
    assert!(show(&PolicySet::check(&twice).unwrap_err()).contains("same id"));
}

#[test]
fn enforced_policies_with_one_scope_agree_on_the_action() {
    let other = text("q", &[("kind = \"purge\"", "kind = \"purge\"\nquarantine = \"P0D\"")]);
    let files = [PolicyFile { stem: "p", text: WHOLE }, PolicyFile { stem: "q", text: &other }];
    assert!(show(&PolicySet::check(&files).unwrap_err()).contains("q.toml:21:1: conflicts with policy `p`"));
    let simulated = other.replace("enforce", "simulate");
    set(&[("p", WHOLE.to_owned()), ("q", simulated)]);
}

#[test]
fn the_digest_is_of_the_rule_and_not_of_its_spelling() {
    let digest = one(&[]).digest();
    let respelled = [
        one(&[("schema = 1", "# a comment\nschema   =   1")]),
        one(&[("period = \"P1Y\"\nstart = \"created\"", "start = 'created'\nperiod = \"P1Y\"")]),
        one(&[("kind = \"purge\"", "quarantine = \"P30D\"\nkind = \"purge\"\n[limits]\nmax_items = 1000")]),
        one(&[("timezone = \"Europe/Paris\"", "timezone = \"europe/paris\"\nalign = \"none\"")]),
        one(&[("[action]", "[[test]]\nrecord = {}\nat = 2020-01-01\nexpect = \"keep\"\n[action]")]),
    ];
    assert!(respelled.iter().all(|policy| policy.digest() == digest));
    let changed = [
        one(&[("P1Y", "P12M")]),
        one(&[("Buyer", "buyer")]),
        one(&[("\"created\"", "\"modified\"")]),
        one(&[("Europe/Paris", "Europe/Berlin")]),
        one(&[("kind = \"purge\"", "kind = \"purge\"\nquarantine = \"P31D\"")]),
        one(&[("enforce", "simulate")]),
        one(&[("[action]", "[approval]\nrequired = false\n[action]")]),
        one(&[("op = \"eq\"", "op = \"prefix\"")]),
    ];
    let digests: BTreeSet<_> = changed.iter().map(|policy| policy.digest()).chain([digest]).collect();
    assert_eq!(digests.len(), changed.len() + 1);
}

#[test]
fn the_digest_of_a_set_does_not_depend_on_the_order_of_files() {
    let (a, b) = (("a", text("a", &[])), ("b", text("b", &[])));
    let forward = set(&[a.clone(), b.clone()]);
    assert_eq!(forward.digest(), set(&[b, a.clone()]).digest());
    assert_ne!(forward.digest(), set(&[a]).digest());
    assert_eq!(forward.versions().iter().map(|version| version.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn the_rule_of_erasures_is_named_as_before_there_was_a_limit_of_drift() {
    let mut erasure = Policy::of_erasures().unwrap();
    assert_eq!(erasure.limits.max_drift_percent, 100);
    erasure.limits.max_drift_percent = Limits::STANDARD.max_drift_percent;
    let form = super::canonical::of(&erasure);
    assert!(!form.contains("drift"), "{form}");
    assert_eq!(erasure.digest(), crate::id::Digest::of(form.as_bytes()));
}

#[test]
fn the_canonical_form_is_frozen() {
    assert_eq!(
        super::canonical::of(&one(&[])),
        "retentiond policy 1\npolicy.id=\"p\"\npolicy.owner=\"dpo@example.org\"\npolicy.legal_basis=\"GDPR 5(1)(e)\"\n\
         policy.state=enforce\nscope.kind=contact\nscope.where=(\"job_title\" eq \"Buyer\")\nretention.period=P1Y\n\
         retention.start=created\nretention.timezone=Europe/Paris\nschedule.cron=on_demand\nlimits.max_items=1000\n\
         limits.max_percent=5\nlimits.min_population=20\nlimits.keep_at_least=0\nlimits.population_drop_percent=30\n\
         export.format=jsonl\nexport.format=csv\nexport.csv_profile=exact\naction.kind=purge\naction.quarantine=P30D\n\
         approval.count=1\napproval.role=approver\napproval.valid_for_ms=604800000\n"
    );
}

#[test]
fn a_limit_that_came_later_changes_no_digest_before_a_file_sets_it() {
    let with = |limit: &str| one(&[("[action]", &format!("[limits]\nmax_drift_percent = {limit}\n[action]"))]);
    assert_eq!(one(&[]).limits.max_drift_percent, 20);
    assert_eq!(with("20").digest(), one(&[]).digest(), "that is what holds anyway");
    let form = super::canonical::of(&with("5"));
    assert!(form.contains("population_drop_percent=30\nlimits.max_drift_percent=5\nexport."), "{form}");
}

#[test]
fn an_example_that_comes_out_otherwise_is_reported_where_it_stands() {
    let example =
        "[[test]]\nrecord = { job_title = \"Buyer\", created = 2020-01-01 }\nat = 2026-01-01\nexpect = \"keep\"\n";
    let set = set(&[("p", format!("{WHOLE}\n{example}"))]);
    let shown = show(&set.failing_examples());
    assert!(
        shown.starts_with("p.toml:24:1: example 1 fails: expected keep, got due (period_over), due 2021-"),
        "{shown}"
    );
    let unknown = example.replace("job_title", "job_titel");
    let text = format!("{WHOLE}\n{unknown}");
    let errors = PolicySet::check(&[PolicyFile { stem: "p", text: &text }]).unwrap_err();
    assert!(show(&errors).contains("unknown field `job_titel` for contact: did you mean `job_title`?"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,300}") {
        let _ = PolicySet::check(&[PolicyFile { stem: "p", text: &text }]);
    }

    #[test]
    fn a_damaged_policy_is_read_or_refused(
        which in 0_usize..12,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\x00-\\x7fé]{0,6}"), 1..5),
    ) {
        let shipped = shipped();
        let (stem, mut text) = shipped[which].clone();
        for (place, length, insert) in cuts {
            let chars: Vec<char> = text.chars().collect();
            let from = place.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            text = chars[..from].iter().chain(&insert.chars().collect::<Vec<_>>()).chain(&chars[to..]).collect();
        }
        match PolicySet::check(&[PolicyFile { stem, text: &text }]) {
            Ok(set) => drop(set.failing_examples()),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| error.line >= 1 && error.column >= 1));
            }
        }
    }
}

/// Returns trees of filters that are spelt right and mean anything: fields, operators and values of all types, mixed.
fn filters() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "job_title",
        "notes",
        "birthday",
        "created",
        "open_deals",
        "shared",
        "visibility",
        "custom.x",
        "",
        "nothing",
    ]);
    let op = prop::sample::select(vec![
        "eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "before", "after", "prefix", "suffix", "contains", "glob",
        "matches", "exists", "absent", "all_of", "like",
    ]);
    let pattern = "[a-z().*+?{}0-9\\[\\]|^$]{0,16}".prop_map(|text| format!("'{text}'"));
    let word = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "nan",
        "9223372036854775807",
        "true",
        "[]",
        "[\"a\", 1]",
        "[[]]",
        "{}",
        "2020-01-01",
        "2020-01-01T10:00:00",
        "2020-01-01T10:00:00Z",
        "10:00:00",
        "\"private\"",
        "\"\"",
    ]);
    let value = prop_oneof![pattern, word.prop_map(str::to_owned)];
    let leaf = (field, op, prop::option::of(value)).prop_map(|(field, op, value)| {
        let value = value.map(|value| format!(", value = {value}")).unwrap_or_default();
        format!("{{ field = \"{field}\", op = \"{op}\"{value} }}")
    });
    leaf.prop_recursive(20, 60, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| parts.join(", "));
        prop_oneof![
            inner.prop_map(|part| format!("{{ not = {part} }}")),
            (prop::sample::select(vec!["all", "any"]), list).prop_map(|(key, list)| format!("{{ {key} = [{list}] }}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_filter_is_read_as_itself_or_refused_where_it_stands(filter in filters()) {
        let whole = text("p", &[(WHERE, &format!("where = {filter}"))]);
        match PolicySet::check(&[PolicyFile { stem: "p", text: &whole }]) {
            Ok(set) => {
                let again = PolicySet::check(&[PolicyFile { stem: "p", text: &whole.replace(", ", " ,  ") }]).unwrap();
                prop_assert_eq!(again.digest(), set.digest());
                prop_assert!(set.policies()[0].scope.filter.is_some());
            }
            // The filter stands on line 11; what is missing in [scope] is told where that begins.
            Err(errors) => prop_assert!(errors.iter().all(|error| matches!(error.line, 9..=11)), "{}", show(&errors)),
        }
    }
}

/// The slips that must never load, each with its line and with what to do.
#[test]
fn every_slip_is_named_with_its_line_and_what_to_do() {
    for (old, new, place, says) in [
        (WHERE, "", "p.toml:9:", "must be said with match_all = true"),
        ("job_title", "job_titel", "p.toml:11:", "did you mean `job_title`"),
        ("owner = \"dpo@example.org\"\n", "", "p.toml:3:", "an enforced policy says who answers for it"),
        ("legal_basis = \"GDPR 5(1)(e)\"\n", "", "p.toml:3:", "on what law it rests"),
        ("\"P1Y\"", "\"PT23H\"", "p.toml:14:", "must be at least a day"),
        ("\"P1Y\"", "\"P0D\"", "p.toml:14:", "must be at least a day"),
        ("timezone = \"Europe/Paris\"\n", "", "p.toml:13:", "days begin and end somewhere"),
        ("\"on_demand\"", "\"0 3 * * 1\"", "p.toml:19:", "weekdays are written as names"),
        (
            "[action]",
            "[export]\nrequired = false\n[action]",
            "p.toml:22:",
            "nothing is purged without a verified export",
        ),
        ("[action]", "[approval]\nrole = \"\"\n[action]", "p.toml:22:", "must be one of approver, admin"),
        ("[action]", "[holds]\nrespect = false\n[action]", "p.toml:21:", "not supported"),
    ] {
        let shown = errors(&[(old, new)]);
        assert!(shown.lines().any(|line| line.contains(place) && line.contains(says)), "{new}: {shown}");
    }
    let two = [("a", text("a", &[])), ("b", text("b", &[("\"purge\"", "\"purge\"\nquarantine = \"P1D\"")]))];
    let files: Vec<_> = two.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
    let shown = show(&PolicySet::check(&files).unwrap_err());
    assert!(shown.contains("b.toml:21:") && shown.contains("tell their scopes apart with `where`"), "{shown}");
}

#[test]
fn a_copy_that_is_kept_longer_than_the_data_is_told_unless_some_of_the_data_is_kept_as_long() {
    let told = |keep: &str, more: &str| {
        let export = format!("[export]\nkeep = \"{keep}\"\n{more}[action]");
        let set = set(&[("p", text("p", &[("[action]", &export)]))]);
        set.copies_outlive_data().iter().map(|(policy, keep)| format!("{} {keep}", policy.id)).collect::<Vec<_>>()
    };
    assert_eq!(told("P2Y", ""), ["p P2Y"]);
    for shorter in ["P90D", "P1Y", "P12M"] {
        assert!(told(shorter, "").is_empty(), "{shorter}");
    }
    let part = format!("[[retention.override]]\n{WHERE}\nperiod = \"P3Y\"\n");
    assert!(told("P2Y", &part).is_empty());
    let min_keep = ("[retention]\n", "[retention]\nmin_keep = \"P3Y\"\n");
    let export = ("[action]", "[export]\nkeep = \"P2Y\"\n[action]");
    assert!(set(&[("p", text("p", &[min_keep, export]))]).copies_outlive_data().is_empty(), "it stays as long");
}
