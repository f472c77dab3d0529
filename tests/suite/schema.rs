//! The JSON Schema of policy files: kept as it is made, and of the same keys as the program reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use retention_core::policy::{PolicyFile, PolicyProblem, PolicySet};
use serde_json::Value;

const WRITE: &str = "RETENTION_WRITE_SCHEMA";

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("policies")
}

#[test]
fn the_schema_is_kept_as_it_is_made() {
    let path = policies().join("policy.schema.json");
    let made = retention_tests::policy_schema::text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
        panic!("the schema was written anew: look at the difference, and run again without {WRITE}");
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(made == kept, "run once with {WRITE}=1");
}

/// Returns the tables of the schema with their keys: `retention` and `retention.override` among them.
fn tables() -> Vec<(String, BTreeSet<String>)> {
    let schema: Value = serde_json::from_str(&retention_tests::policy_schema::text()).unwrap();
    let mut found = Vec::new();
    let keys = |table: &Value| table["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    for (name, part) in schema["properties"].as_object().unwrap() {
        let reference =
            part.pointer("/$ref").or_else(|| part.pointer("/anyOf/0/$ref")).or_else(|| part.pointer("/items/$ref"));
        let Some(reference) = reference.and_then(Value::as_str) else { continue };
        let table = schema.pointer(reference.trim_start_matches('#')).unwrap();
        assert_eq!(table["additionalProperties"], false, "{name}");
        found.push((name.clone(), keys(table)));
    }
    found.push(("retention.override".to_owned(), keys(&schema["$defs"]["Override"])));
    found
}

fn problems(text: &str) -> Vec<PolicyProblem> {
    let checked = PolicySet::check(&[PolicyFile { stem: "p", text }]);
    checked.err().unwrap_or_default().into_iter().map(|error| error.problem).collect()
}

/// A file in which one table has one key, and the others what they need.
fn file_with(table: &str, key: &str) -> String {
    let part = |name: &str, body: &str| {
        let own =
            if name == table && !body.contains(&format!("{key} = ")) { format!("{key} = 1\n") } else { String::new() };
        format!("[{name}]\n{body}{own}")
    };
    let mut text = "schema = 1\n".to_owned() + &part("policy", "id = \"p\"\n");
    if table == "access" {
        return text + &part("access", "right = \"full_access\"\n");
    }
    text += &part("scope", "kind = \"contact\"\nmatch_all = true\n");
    text += &part("retention", "period = \"P1Y\"\nstart = \"created\"\ntimezone = \"Etc/UTC\"\n");
    if table == "retention.override" {
        text += &format!(
            "[[retention.override]]\nperiod = \"P2Y\"\n{}",
            if key == "period" { String::new() } else { format!("{key} = 1\n") }
        );
    }
    text += &part("schedule", "cron = \"on_demand\"\n");
    text += &part("action", "kind = \"purge\"\n");
    for name in ["limits", "export", "approval"] {
        if table == name {
            text += &part(name, "");
        }
    }
    if table == "test" {
        text += &format!("[[test]]\n{key} = 1\n");
    }
    text
}

#[test]
fn the_program_reads_every_key_of_the_schema() {
    let tables = tables();
    assert!(tables.len() >= 11, "{tables:?}");
    for (table, keys) in &tables {
        for key in keys {
            for problem in problems(&file_with(table, key)) {
                let refused = match &problem {
                    PolicyProblem::UnknownKey { key: unknown, .. } => unknown == key,
                    PolicyProblem::Unsupported { what, .. } => what == key,
                    PolicyProblem::Syntax(_) => true,
                    _ => false,
                };
                assert!(!refused, "[{table}] {key}: {problem}");
            }
        }
    }
}

/// Every key that the program offers instead of a wrong one must be in the schema.
#[test]
fn the_schema_has_every_key_that_the_program_suggests() {
    for (table, keys) in tables() {
        for key in &keys {
            let misspelt = format!("{key}x");
            for problem in problems(&file_with(&table, &misspelt)) {
                let PolicyProblem::UnknownKey { hint, .. } = &problem else { continue };
                let suggested = hint.split('`').nth(1).unwrap_or_default();
                assert!(suggested.is_empty() || keys.contains(suggested), "[{table}] {suggested}: {problem}");
            }
        }
    }
}

#[test]
fn the_shipped_policies_use_no_key_that_the_schema_lacks() {
    let tables = tables();
    for entry in std::fs::read_dir(policies()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        for (name, part) in file.iter().filter(|(name, _)| *name != "schema") {
            let (_, keys) = tables.iter().find(|(table, _)| table == name).unwrap_or_else(|| panic!("{name}"));
            let parts: Vec<&toml::Table> = match part {
                toml::Value::Array(parts) => parts.iter().filter_map(toml::Value::as_table).collect(),
                part => part.as_table().into_iter().collect(),
            };
            for key in parts.into_iter().flat_map(toml::Table::keys) {
                assert!(keys.contains(key), "{}: [{name}] {key}", path.display());
            }
        }
    }
}
