//! What is erased is gone: a search through every byte that the daemon has anywhere, on disk and in its memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use retention_tests::daemon::{Daemon, Site, has_second_person};
use retention_tests::traces::{Traces, bytes_below};

use super::{is_approved, old_people, planned, policies_active, taken_in, text};

/// How many people are taken in, half of whom are purged. Every test run searches for a few thousand; for the whole
/// search set it to 100000.
const HOW_MANY: &str = "RETENTION_ERASED_PEOPLE";
const USUALLY: u32 = 4_000;

/// What stands in the rows of those who go and of those who stay: again and again in the name, once in the id.
const GONE: &str = "Zq7gone4Xw";
const GONE_ID: &str = "Kd8gone5Wm";
const STAYS: &str = "Vb3stay9Tn";
const STAYS_ID: &str = "Hf6stay2Lp";

/// The payload of a row in bytes, about that of the benches.
const NAME_BYTES: usize = 280;

/// The wrapping keys in use, and the data keys by their numbers.
type Keys = (Vec<[u8; 32]>, BTreeMap<u32, [u8; 32]>);

/// Opens all keys with a program that shares no code with ours.
fn keys(site: &Site) -> Keys {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data_keys.py");
    let run = Command::new("python3").arg(script).arg(site.path("state/keys")).arg(site.path("root.key")).output();
    let run = run.expect("python3");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (mut wrapping, mut data) = (Vec::new(), BTreeMap::new());
    for line in String::from_utf8_lossy(&run.stdout).lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[what, number, key] = fields.as_slice() else { panic!("no key: {line}") };
        let bytes: Vec<u8> =
            (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).expect("digits")).collect();
        let key = <[u8; 32]>::try_from(bytes).expect("a key of 32 bytes");
        match what {
            "wrapping" => wrapping.push(key),
            _ => _ = data.insert(number.parse().expect("a number"), key),
        }
    }
    (wrapping, data)
}

fn rows(of: std::ops::Range<u32>, word: &str, id: &str, created: &'static str) -> Vec<(String, String, &'static str)> {
    let row = |number: u32| {
        let name = format!("{word}{number:08}");
        (format!("{number}{id}{number}"), name.repeat(NAME_BYTES / name.len()), created)
    };
    of.map(row).collect()
}

/// Everything of the daemon's own that lies on disk: not the exports, which are there to be read, and not what was
/// delivered, which its source has as well.
fn directories(site: &Site) -> Vec<PathBuf> {
    ["state", "run", "tmp"].map(|name| site.path(name)).to_vec()
}

fn on_disk(site: &Site, traces: &Traces) -> Vec<(String, (u64, String))> {
    directories(site).iter().flat_map(|dir| traces.in_directory(dir).things).collect()
}

/// What threads worked on last may still lie on their stacks, also on those that wait for the next thread: safe code cannot
/// wipe them (`docs/threat-model.md`). So it is not nothing, but no more than so many stretches of memory, however many
/// were erased.
const STRETCHES_MAX: usize = 16;

/// Waits until a compaction is recorded; in between nobody answers at all.
fn compacted(site: &Site, daemon: &Daemon<'_>) {
    let _begun = site.ctl(&["store", "compact"]).ends(0);
    daemon.until("it is compacted", || {
        let said = site.ctl(&["audit", "query", "--kind", "StoreCompacted", "--output", "jsonl"]);
        (said.code == 0 && !said.rows().is_empty()).then_some(())
    });
}

#[test]
fn what_was_erased_is_in_no_file_and_not_kept_in_memory_and_every_proof_holds() {
    if !has_second_person() {
        println!("only root can be a second person and read the memory of a process: nothing is searched");
        return;
    }
    let people: u32 = std::env::var(HOW_MANY).map_or(USUALLY, |text| text.parse().expect("a number"));
    let policy = old_people("P1Y", "P0D").replace("max_items = 1000", "max_items = 1000000");
    let site = Site::new(&[("old-people", &policy)]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    let mut all = rows(0..people / 2, GONE, GONE_ID, "2015-01-01");
    all.extend(rows(people / 2..people, STAYS, STAYS_ID, "2030-01-01"));
    // Those who stay are between those who go.
    all.sort_unstable_by_key(|(id, ..)| id.chars().rev().collect::<String>());
    let delivered: Vec<(String, &str, &str)> =
        all.iter().map(|(id, name, created)| (id.clone(), name.as_str(), *created)).collect();
    site.drop_people("people", &delivered);
    let _intakes = taken_in(&site, &daemon, 1);
    let payload: usize = delivered.iter().map(|(id, name, created)| id.len() + name.len() + created.len()).sum();
    let (old_wrapping, data) = keys(&site);
    assert!(data.len() > people as usize, "a key for each, and the house key");

    // The search does find what is there: plaintext in a bundle, a wrapping key in memory.
    let plan = planned(&site, "old-people");
    let plan = text(&plan, "plan");
    assert!(is_approved(&site, plan));
    let run = site.ctl(&["run", "start", plan, "--output", "json"]).ends(0).json();
    let run = text(&run, "run").to_owned();
    daemon.until("the run is over", || {
        let shown = site.json(&["run", "show", &run]);
        (shown["state"] == "completed").then_some(())
    });
    let words = Traces::of(&[GONE, GONE_ID], []);
    assert_eq!(words.in_directory(&site.path("exports")).things.len(), 2, "the copies are in clear in their bundle");
    let in_use = |wrapping: &[[u8; 32]]| Traces::of(&[], (0..).zip(wrapping.iter().copied()));
    assert!(
        !in_use(&old_wrapping).in_memory(daemon.process()).0.things.is_empty(),
        "the wrapping key in use is in memory"
    );

    let (_, left) = keys(&site);
    let destroyed: BTreeMap<u32, [u8; 32]> =
        data.iter().filter(|(number, _)| !left.contains_key(number)).map(|(number, key)| (*number, *key)).collect();
    assert_eq!(destroyed.len(), people as usize / 2);
    let first = destroyed.keys().next().expect("somebody");
    let history = site.rows(&["entity", "history", &format!("E{first}")]);
    let position = history.iter().map(|row| row["position"].to_string()).next().expect("an event");
    let (proof, item, key) = (site.path("before.proof"), site.path("item.certificate"), site.rows(&["audit", "keys"]));
    let (proof, item) = (proof.to_str().expect("a path"), item.to_str().expect("a path"));
    let key = text(&key[0], "verifier_key");
    let entity = format!("E{first}");
    for made in
        [["audit", "prove", &position, "--into", proof].as_slice(), &["certificate", "item", &entity, "--into", item]]
    {
        daemon.until("a checkpoint covers it", || (site.ctl(made).code == 0).then_some(()));
    }
    let before = site.json(&["audit", "checkpoint"])["size"].to_string();

    compacted(&site, &daemon);
    let gone = Traces::of(&[GONE, GONE_ID], destroyed.iter().map(|(number, key)| (*number, *key)));
    let on_disk = [on_disk(&site, &gone), on_disk(&site, &in_use(&old_wrapping))];
    let (in_memory, bytes) = gone.in_memory(daemon.process());
    let (wrapping_in_memory, _) = in_use(&old_wrapping).in_memory(daemon.process());
    let (own, live) = (bytes_below(&site.path("state")), payload / 2);
    println!(
        "{people} people, half of them purged: {bytes} bytes of memory and {own} bytes of state searched, {live} bytes of live payload"
    );
    println!(
        "of what was erased, in memory: {} things in {} stretches",
        in_memory.things.len(),
        in_memory.stretches.len()
    );
    assert!(on_disk.iter().all(Vec::is_empty), "on disk: {on_disk:#?}");
    assert!(in_memory.stretches.len() <= STRETCHES_MAX, "in memory: {in_memory:#?}");
    assert!(wrapping_in_memory.things.is_empty(), "old wrapping keys in memory: {wrapping_in_memory:#?}");

    for (made, checked) in [("verify-proof", proof), ("verify", item)] {
        let noun = if made == "verify" { "certificate" } else { "audit" };
        let _holds = site.ctl(&[noun, made, checked, "--key", key]).ends(0);
    }
    let growth = site.path("growth.proof");
    let growth = growth.to_str().expect("a path");
    let after = site.json(&["audit", "checkpoint"])["size"].to_string();
    let _grown = site.ctl(&["audit", "growth", &before, &after, "--into", growth]).ends(0);
    let _holds = site.ctl(&["audit", "verify-proof", growth, "--key", key]).ends(0);
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    daemon.stop();
}
