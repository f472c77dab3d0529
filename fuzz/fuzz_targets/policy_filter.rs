//! A filter of a policy or of a hold: whatever is wrong with it, no message shows what it compares with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::policy::{HoldFilter, PolicyError, PolicyFile, PolicySet};
use retention_core::record::Kind;
use retention_fuzz::Input;

const FIELDS: &[&str] = &[
    "display_name",
    "email1",
    "is_business_contact",
    "open_deals",
    "last_activity",
    "created",
    "visibility",
    "source",
    "kind",
    "custom.x",
    "categories",
    "amount",
    "nonsense",
];
const OPERATORS: &[&str] = &[
    "eq",
    "ne",
    "in",
    "not_in",
    "prefix",
    "suffix",
    "contains",
    "glob",
    "matches",
    "lt",
    "le",
    "gt",
    "ge",
    "before",
    "after",
    "exists",
    "absent",
    "all_of",
    "older_than",
    "nonsense",
];
/// Stands in every value, so that a value that is shown is found.
const MARK: &str = "qzxjvk";

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn leaf(input: &mut Input<'_>) -> String {
    let (field, operator, form) = (input.one_of(FIELDS), input.one_of(OPERATORS), input.byte());
    let length = usize::from(input.byte());
    let text = String::from_utf8_lossy(input.take(length)).into_owned();
    let marked = quoted(&format!("{MARK}{text}"));
    let value = match form % 8 {
        0..=2 => marked,
        3 => format!("[{marked}, {}]", quoted(&text)),
        4 => format!("{{ op = {}, value = {marked} }}", quoted(input.one_of(OPERATORS))),
        5 => format!("[[{marked}]]"),
        // Not TOML: a message about the syntax shows no value either.
        6 => format!("'''{MARK}{text}"),
        _ => format!("{MARK}{text}"),
    };
    format!("{{ field = {}, op = {}, value = {value} }}", quoted(field), quoted(operator))
}

fn tree(input: &mut Input<'_>, depth: usize) -> String {
    // Without an end to the input there would be a million leaves.
    let depth = if input.0.is_empty() { usize::MAX } else { depth };
    match (input.byte() % 5, depth) {
        (0, 0..20) => format!("{{ all = [{}, {}] }}", tree(input, depth + 1), tree(input, depth + 1)),
        (1, 0..20) => format!("{{ any = [{}] }}", tree(input, depth + 1)),
        (2, 0..20) => format!("{{ not = {} }}", tree(input, depth + 1)),
        _ => leaf(input),
    }
}

fn assert_silent(errors: &[PolicyError]) {
    for error in errors {
        let shown = format!("{error:?} {}", error.problem);
        assert!(!shown.contains(MARK), "{shown}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let kind = input.one_of(&["contact", "deal", "message", "task"]);
    let filter = tree(&mut input, 0);
    let text = format!(
        "schema = 1\n[policy]\nid = \"fuzzed\"\ntitle = \"t\"\nowner = \"o\"\nlegal_basis = \"b\"\ncitation = \"c\"\n\
         data_class = \"d\"\nstate = \"enforce\"\n[scope]\nkind = \"{kind}\"\nwhere = {filter}\n[retention]\n\
         period = \"P3Y\"\nstart = \"created\"\non_missing_start = \"keep\"\ntimezone = \"Europe/Paris\"\n[schedule]\n\
         cron = \"30 3 * * sun\"\ntimezone = \"Europe/Paris\"\non_missed = \"run_once\"\n[action]\nkind = \"purge\"\n\
         quarantine = \"P30D\"\n[approval]\nrequired = true\ncount = 1\nvalid_for = \"P7D\"\n"
    );
    match PolicySet::check(&[PolicyFile { stem: "fuzzed", text: &text }]) {
        Ok(set) => assert!(!format!("{:?}", set.policies()).contains(MARK), "Debug shows a value"),
        Err(errors) => assert_silent(&errors),
    }
    let kind = Kind::from_name(kind).expect("a kind");
    for text in [filter.clone(), format!("where = {filter}")] {
        match HoldFilter::check(&text, &[kind]) {
            Ok(filter) => assert!(!format!("{filter:?}").contains(MARK), "Debug shows a value"),
            Err(errors) => assert_silent(&errors),
        }
    }
});
