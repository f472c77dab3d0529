//! The fences: who may name whom, held to by reading the source.
//!
//! The picture and the reasons are in `ARCHITECTURE.md`. A rule that is in the way is discussed there first.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files hold more than one idea.
const LINES_MAX: usize = 700;

/// One source file, without its comments.
#[derive(Debug)]
struct Source {
    /// Relative to the `src` directory it was found in, with `/`.
    path: String,
    code: String,
    lines_before_tests: usize,
}

impl Source {
    fn of(path: &str, text: &str) -> Self {
        let code = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
        let lines_before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").lines().count();
        Self { path: path.to_owned(), code, lines_before_tests }
    }

    /// The module that the file belongs to: `store` for `store.rs` and `store/vault.rs`.
    fn area(&self) -> &str {
        self.path.split('/').next().unwrap_or("").trim_end_matches(".rs")
    }

    /// Whether the file is `module.rs` or lies in `module/`.
    fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Whether the code has the word, not only as a part of a longer one.
    fn says(&self, word: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }

    /// What follows each `prefix::` in a path, also inside braces: `a` and `b` for `crate::{a, b::c}`.
    fn names_under(&self, prefix: &str) -> Vec<String> {
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let mut names = Vec::new();
        for (at, _) in self.code.match_indices(&format!("{prefix}::")) {
            if self.code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &self.code[at + prefix.len() + 2..];
            match rest.strip_prefix('{') {
                None => names.push(word(rest)),
                Some(group) => {
                    let mut depth = 0;
                    let mut starts = true;
                    for (at, c) in group.char_indices() {
                        match c {
                            '}' if depth == 0 => break,
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            ',' if depth == 0 => starts = true,
                            c if c.is_whitespace() => {}
                            _ if starts => {
                                names.push(word(&group[at..]));
                                starts = false;
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        names
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files_under(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_under(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources(src: &str) -> Vec<Source> {
    let directory = root().join(src);
    let mut found = Vec::new();
    files_under(&directory, "rs", &mut found);
    assert!(!found.is_empty(), "{src} holds no source");
    found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&directory).expect("a part").to_string_lossy().into_owned();
            Source::of(&name, &fs::read_to_string(path).expect("text"))
        })
        .collect()
}

/// The modules of a crate in the order of its `lib.rs`.
fn modules_of(lib: &str) -> Vec<String> {
    lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

/// A module names only those above it, and itself.
fn core_violations(order: &[String], sources: &[Source]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.area() != "lib") {
        let own = place(source.area());
        for name in source.names_under("crate") {
            if own.is_none() || place(&name).is_none_or(|other| Some(other) > own) {
                violations.push(format!("core/src/{} names {name}, which stands below it in lib.rs", source.path));
            }
        }
    }
    violations
}

/// Which modules of the daemon an area may name, beside itself.
fn daemon_may(area: &str) -> &'static [&'static str] {
    match area {
        "config" | "clock" | "flush" | "halt" | "private_file" | "keyholders" | "diagnostics" | "ahead" | "store"
        | "connector" => &["config", "clock", "flush", "halt", "private_file", "keyholders", "diagnostics", "ahead"],
        "stage" => &["config", "clock", "flush", "halt", "diagnostics", "ahead", "store", "connector"],
        "control" => &["config", "clock", "flush", "halt", "keyholders", "diagnostics", "ahead", "store"],
        "supervise" | "main" | "lib" => &[
            "config",
            "clock",
            "flush",
            "halt",
            "private_file",
            "keyholders",
            "diagnostics",
            "ahead",
            "store",
            "connector",
            "stage",
            "control",
            "supervise",
        ],
        _ => &[],
    }
}

/// Words of which each may be said in a few places only.
const RESERVED: &[(&str, &[&str])] = &[
    ("Feed", &["connector", "stage/intake", "supervise"]),
    ("Effect", &["connector", "stage/run", "supervise"]),
    ("Mover", &["connector", "stage/run", "supervise"]),
    ("Publication", &["connector", "stage/publish", "supervise"]),
    ("Cosigning", &["connector", "stage/witness", "supervise"]),
    ("Forwarding", &["connector", "stage/forward", "supervise"]),
    ("Carrier", &["connector", "stage/notify", "supervise"]),
    ("AccessTarget", &["connector", "stage/run", "supervise"]),
    ("StepTicket", &["store", "connector", "stage/run"]),
    ("ExportTarget", &["store", "connector", "stage/run", "supervise"]),
];

const STAGES: &[&str] =
    &["intake", "project", "catch", "plan", "run", "attest", "publish", "witness", "ledger", "notify"];

fn daemon_violations(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let path = &source.path;
        let mut named = source.names_under("crate");
        if path == "main.rs" {
            named.extend(source.names_under("retentiond"));
        }
        for name in named {
            if name != source.area() && !daemon_may(source.area()).contains(&name.as_str()) {
                violations.push(format!("daemon/src/{path} names {name}, which {} may not", source.area()));
            }
        }
        for (word, places) in RESERVED {
            if source.says(word) && !places.iter().any(|place| source.is_in(place)) {
                violations.push(format!("daemon/src/{path} names {word}, which only {places:?} may"));
            }
        }
        if let Some(stage) = STAGES.iter().find(|stage| source.is_in(&format!("stage/{stage}"))) {
            let mut siblings = source.names_under("crate::stage");
            if path.matches('/').count() == 1 {
                siblings.extend(source.names_under("super"));
            }
            for sibling in siblings.iter().filter(|name| name != stage && STAGES.contains(&name.as_str())) {
                violations.push(format!("daemon/src/{path} names the stage {sibling}; stages meet only in the log"));
            }
        }
    }
    violations
}

/// Says `what` of every source that says one of `words` outside `allowed`.
fn said_elsewhere(src: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let outside = |source: &Source| !allowed.iter().any(|place| source.path == *place || source.is_in(place));
    sources(src)
        .iter()
        .filter(|source| outside(source))
        .flat_map(|source| {
            let said = words.iter().filter(|word| source.says(word));
            said.map(|word| format!("{src}/{} says {word}", source.path)).collect::<Vec<_>>()
        })
        .collect()
}

/// The parties of the threat model: the heading of each, and what stands below it.
fn parties(page: &str) -> Vec<(&str, &str)> {
    let parties = page.split("\n## ").find(|part| part.starts_with("The parties\n")).unwrap_or_default();
    parties.split("\n### ").skip(1).filter_map(|party| party.split_once('\n')).collect()
}

/// The tests that a page names in backquotes, as `path.rs::function`.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(|word| word.split_once("::")).filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// Says what is not shown by a test, and not said to be so either.
fn unshown(page: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (party, text) in parties(page) {
        let threats: Vec<&str> =
            text.split("\n* ").skip(1).map(|item| item.split("\n\n").next().unwrap_or(item)).collect();
        if threats.is_empty() || !text.contains("\n**What is left:**") {
            violations.push(format!("{party:?} lacks what they could try, or what is left"));
        }
        for threat in threats {
            if tests_named(threat).is_empty() && !threat.to_lowercase().contains("no test") {
                violations.push(format!("{party:?} names no test of: {threat}"));
            }
        }
    }
    violations
}

/// Says whether a source has a test of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_named = |line: &str| line.trim_start_matches("async ").starts_with(&format!("fn {name}("));
    lines.iter().enumerate().filter(|(_, line)| is_named(line)).any(|(at, _)| {
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        above.any(|line| ["#[test]", "#[tokio::test]"].contains(line))
    })
}

fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn dependencies(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = read(manifest).parse().expect("a manifest");
    manifest["dependencies"].as_table().expect("dependencies").keys().cloned().collect()
}

#[test]
fn a_module_of_core_names_only_those_above_it() {
    assert_none(core_violations(&modules_of(&read("core/src/lib.rs")), &sources("core/src")));
}

#[test]
fn the_daemon_keeps_to_its_arrows() {
    assert_none(daemon_violations(&sources("daemon/src")));
    let areas = modules_of(&read("daemon/src/lib.rs"));
    assert!(areas.iter().all(|area| !daemon_may(area).is_empty()), "an area has no arrows: {areas:?}");
}

#[test]
fn a_broken_arrow_is_found() {
    let order: Vec<String> = ["id", "event", "plan"].map(str::to_owned).to_vec();
    let core = |path: &str, text: &str| core_violations(&order, &[Source::of(path, text)]).len();
    assert_eq!(core("event/saga.rs", "use crate::{id, event::x};"), 0);
    assert_eq!(core("event/saga.rs", "use crate::{id::A, plan::{B, C}};"), 1);
    assert_eq!(core("id.rs", "// crate::plan\nfn f() { crate::event::g() }"), 1);
    assert_eq!(core("new.rs", "use crate::id::A;"), 1);

    let daemon = |path: &str, text: &str| daemon_violations(&[Source::of(path, text)]).len();
    assert_eq!(daemon("store/vault.rs", "use crate::config::Config;"), 0);
    assert_eq!(daemon("store/vault.rs", "use crate::stage::run;"), 1);
    assert_eq!(daemon("control/routes.rs", "use crate::{store::View, connector};"), 1);
    assert_eq!(daemon("stage/plan.rs", "fn f(x: &dyn Effect) {}"), 1);
    assert_eq!(daemon("stage/run/drive.rs", "fn f(x: &dyn Effect, y: SideEffect) {}"), 0);
    assert_eq!(daemon("stage/plan.rs", "use super::run::go; use crate::stage::intake;"), 2);
    assert_eq!(daemon("stage/run/drive.rs", "use super::plan;"), 0, "its own part that is called plan");
    assert_eq!(daemon("main.rs", "use retentiond::{stages, supervise};"), 1);
    assert_eq!(daemon("control/peer.rs", "fn f(_: StepTicket) {}"), 1);
}

#[test]
fn a_command_line_tool_and_a_pure_core_depend_on_no_effects() {
    let ctl = dependencies("ctl/Cargo.toml");
    assert!(ctl.contains(&"retention-core".to_owned()));
    let pure = dependencies("core/Cargo.toml");
    for effect in ["retentiond", "sled", "ring", "rustix", "notify"] {
        assert!(!ctl.iter().any(|name| name == effect), "retentionctl depends on {effect}");
        assert!(!pure.iter().any(|name| name == effect), "retention-core depends on {effect}");
    }
    for effect in ["tokio", "parking_lot", "crossbeam-channel", "rand", "getrandom", "tracing"] {
        assert!(!pure.iter().any(|name| name == effect), "retention-core depends on {effect}");
    }
    assert!(!dependencies("daemon/Cargo.toml").contains(&"retentionctl".to_owned()));
}

#[test]
fn core_has_no_clock_disk_network_environment_or_thread() {
    let words = ["std::fs", "std::net", "std::env", "std::thread", "std::process", "SystemTime", "Instant", "tokio"];
    assert_none(said_elsewhere("core/src", &words, &[]));
}

#[test]
fn only_the_clock_reads_the_time() {
    let words =
        ["SystemTime", "Instant::now", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now", "clock_gettime"];
    assert_none(said_elsewhere("daemon/src", &words, &["clock"]));
    assert_none(said_elsewhere("core/src", &words, &[]));
}

#[test]
fn only_configuration_and_supervision_read_the_environment() {
    assert_none(said_elsewhere(
        "daemon/src",
        &["env::var", "env::var_os", "env::vars"],
        &["config", "supervise", "main"],
    ));
}

#[test]
fn one_file_names_sled() {
    for src in ["daemon/src", "core/src", "ctl/src"] {
        let others = sources(src).into_iter().filter(|source| !source.is_in("store/sled_door"));
        let naming = others.filter(|source| !source.names_under("sled").is_empty());
        assert_none(naming.map(|source| format!("{src}/{} names sled", source.path)).collect());
    }
}

#[test]
fn one_file_calls_bincode_and_the_others_only_derive() {
    let is_codec = |src: &str, source: &Source| src == "core/src" && source.path == "event/codec.rs";
    for src in ["core/src", "daemon/src", "ctl/src"] {
        for source in sources(src).iter().filter(|source| !is_codec(src, source)) {
            for name in source.names_under("bincode") {
                assert!(["Encode", "Decode"].contains(&name.as_str()), "{src}/{} names bincode::{name}", source.path);
            }
        }
    }
}

#[test]
fn frozen_formats_are_pinned_exactly() {
    let manifest = read("Cargo.toml");
    for pin in ["version = \"=0.34.7\"", "version = \"=2.0.1\""] {
        assert!(manifest.contains(pin), "{pin} is gone from Cargo.toml");
    }
}

#[test]
fn no_file_holds_more_than_one_idea() {
    for src in ["core/src", "daemon/src", "ctl/src", "tests/src", "tests/suite", "benches/src"] {
        for source in sources(src) {
            let lines = source.lines_before_tests;
            assert!(lines <= LINES_MAX, "{src}/{} has {lines} lines without its tests", source.path);
            assert!(!source.path.ends_with("mod.rs"), "{src}/{}: the house style is name.rs beside name/", source.path);
        }
    }
}

#[test]
fn every_suite_is_listed() {
    let main = read("tests/suite/main.rs");
    for source in sources("tests/suite").iter().filter(|source| source.path != "main.rs" && !source.path.contains('/'))
    {
        let line = format!("mod {};", source.area());
        assert!(main.lines().any(|listed| listed.trim() == line), "tests/suite/main.rs does not list `{line}`");
    }
}

#[test]
fn public_pages_use_the_words_of_the_glossary() {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("config.toml")];
    files_under(&root().join("docs"), "md", &mut pages);
    pages.retain(|page| !page.ends_with("glossary.md"));
    // What the glossary says not to say, as far as a word alone can be wrong.
    let wrong = ["audit trail", "soft delete", "soft-delete", "master key", "keystore", "recycle bin", "PII", "TTL"];
    for page in pages {
        let source = Source::of("page", &fs::read_to_string(&page).expect("text").replace("//", " "));
        for word in wrong {
            assert!(!source.says(word), "{} says {word:?}; see docs/glossary.md", page.display());
        }
    }
}

#[test]
fn the_changelog_always_says_what_breaks() {
    let changelog = read("CHANGELOG.md");
    let releases: Vec<&str> = changelog.split("\n## ").skip(1).collect();
    assert!(!releases.is_empty());
    for release in releases {
        assert!(release.contains("### Breaking changes"), "no \"Breaking changes\" in {:?}", release.lines().next());
    }
}

#[test]
fn every_threat_names_tests_that_exist_or_says_that_there_is_none() {
    let page = read("docs/threat-model.md");
    assert!(!parties(&page).is_empty(), "the threat model has no parties");
    assert_none(unshown(&page));
    let missing = tests_named(&page).into_iter().filter(|(path, name)| !has_test(&read(path), name));
    assert_none(
        missing.map(|(path, name)| format!("docs/threat-model.md names {path}::{name}, which is no test")).collect(),
    );
}

#[test]
fn a_threat_without_a_test_is_found() {
    let page = |threats: &str| {
        format!("# Page\n\n## The parties\n\n### Somebody\n\n{threats}\n\n## More\n\n* *Free.* Text.\n")
    };
    let left = "**What is left:** all.";
    for (threats, violations) in [
        (format!("* *Cheat.* Shown by\n  `a/b.rs::it_is_seen`.\n* *Lie.* **No test**, for a reason.\n\n{left}"), 0),
        (format!("* *Cheat.* Shown by `a/b.rs::it_is_seen`.\n* *Lie.* It is refused.\n\n{left}"), 1),
        (format!("* *Cheat.* Nothing, see `b.rs`.\n* *Lie.* It is refused.\n\n{left}"), 2),
        ("* *Cheat.* Shown by `a/b.rs::it_is_seen`.".to_owned(), 1),
        (left.to_owned(), 1),
    ] {
        assert_eq!(unshown(&page(&threats)).len(), violations, "{threats}");
    }
    let source = "#[test]\nfn one() {}\n\n/// A word.\n#[tokio::test]\nasync fn two() {}\n\nfn three() {}\n";
    let found = ["one", "two", "three", "thre", "four"].map(|name| has_test(source, name));
    assert_eq!(found, [true, true, false, false, false]);
}
