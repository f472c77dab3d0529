//! The persons and the sources: they drop files, ask for plans, agree, start runs and place holds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use retention_core::event::EventType;
use retention_core::id::{EntityId, PlanId, Position};
use retention_tests::invariants::MARKER;
use retention_tests::victim::{Socket, Victim};
use serde_json::{Value, json};

use super::truth::Truth;

/// The policies.
pub(super) const POLICIES: [&str; 2] = ["contacts", "tasks"];

/// Holds stay for ever, so there are few.
const HOLDS_MAX: usize = 12;

/// How often the daemon is asked whether something came to pass.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// Something that the daemon said has happened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Acknowledged {
    /// An event stands there.
    Event(Position, EventType),
    /// The plan was accepted.
    Approval(PlanId),
}

/// What became of a plan that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// There is nothing to do.
    Nothing,
    /// It goes on.
    UnderWay,
}

/// Who drives.
pub(super) struct Driver {
    pub(super) truth: Truth,
    pub(super) random: StdRng,
    /// What was acknowledged since the last look.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// The hold that was asked for and not acknowledged.
    pub(super) asked_to_hold: Option<BTreeSet<EntityId>>,
    /// The holds that were acknowledged.
    pub(super) holds: Vec<(Position, BTreeSet<EntityId>)>,
    socket: Socket,
    dir: PathBuf,
}

/// Returns what waits in a drop folder to be claimed.
pub(super) fn unclaimed(folder: &Path) -> Vec<OsString> {
    let ours = ["processing", "done", "rejected"];
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    // What begins with a dot is no delivery: the note of the mapping is one.
    let is_delivery =
        |name: &OsString| ours.iter().all(|own| name != *own) && !name.as_encoded_bytes().starts_with(b".");
    entries.filter(is_delivery).collect()
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.get(1..)?.parse().ok())
}

impl Driver {
    pub(super) fn new(victim: &Victim, random: StdRng) -> Self {
        Self {
            truth: Truth::default(),
            random,
            acknowledged: Vec::new(),
            asked_to_hold: None,
            holds: Vec::new(),
            socket: victim.socket(),
            dir: victim.path(""),
        }
    }

    /// Waits until the daemon answers; says whether it did before it was killed.
    pub(super) fn meets(&self, is_killed: &AtomicBool) -> bool {
        while !is_killed.load(Ordering::Relaxed) {
            if self.socket.get("/v1/status").is_ok() {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    /// Does a few things, until the daemon no longer answers.
    pub(super) fn acts(&mut self, is_killed: &AtomicBool) {
        if !self.meets(is_killed) {
            return;
        }
        for _ in 0..self.random.random_range(1..16) {
            let done = match self.random.random_range(0..15) {
                0..2 => self.drops("drop-list"),
                2..4 => self.drops("drop-crm"),
                4..14 => {
                    let policy = POLICIES.choose(&mut self.random).expect("a policy");
                    self.plans(policy).map(drop)
                }
                _ => self.holds(),
            };
            if done.is_err() || is_killed.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// A source drops its next delivery, once the one before it was claimed: their order counts.
    fn drops(&mut self, name: &str) -> io::Result<()> {
        let (folder, scratch) = (self.dir.join(name), self.dir.join("scratch"));
        let waiting = unclaimed(&folder);
        for name in &waiting {
            // A daemon that did not see the rename waits until the entry is still, and may not live so long.
            if fs::rename(folder.join(name), scratch.join(name)).is_ok() {
                fs::rename(scratch.join(name), folder.join(name))?;
            }
        }
        if waiting.is_empty() {
            match name {
                "drop-list" => self.truth.drop_list(&scratch, &folder, &mut self.random),
                _ => self.truth.drop_export(&scratch, &folder, &mut self.random),
            }
        }
        Ok(())
    }

    fn asks(&mut self, path: &str, body: &Value, event_type: EventType) -> io::Result<Position> {
        let answer = self.socket.post(path, body)?;
        let position = number(&answer["position"]).expect("a position");
        self.acknowledged.push(Acknowledged::Event(Position(position), event_type));
        Ok(Position(position))
    }

    /// Does what is next for the newest plan of a policy.
    ///
    /// # Errors
    /// When the daemon did not answer, or refused.
    pub(super) fn plans(&mut self, policy: &str) -> io::Result<Planned> {
        let plans = self.socket.get("/v1/plans?limit=20")?;
        let plans = plans["rows"].as_array().cloned().unwrap_or_default();
        let newest = plans.iter().find(|plan| plan["policy"] == policy);
        let state = newest.and_then(|plan| plan["state"].as_str()).unwrap_or("none");
        match (state, newest) {
            ("requested", _) => {}
            ("awaiting_approval", Some(plan)) => {
                let name = plan["plan"].as_str().expect("a name");
                if self.socket.second_person(&["plan", "approve", name]) {
                    let plan = PlanId(Position(number(&plan["plan"]).expect("a number")));
                    self.acknowledged.push(Acknowledged::Approval(plan));
                }
            }
            ("ready", Some(plan)) => {
                let body = json!({ "plan": plan["plan"], "digest": plan["frozen"]["digest"] });
                match self.asks("/v1/runs", &body, EventType::RunRequested) {
                    // A run that was asked for before has taken it in the meantime.
                    Err(error) if error.kind() == io::ErrorKind::Other => {}
                    asked => drop(asked?),
                }
            }
            ("used", Some(plan)) if self.is_at_work(plan)? => {}
            _ => drop(self.asks(
                "/v1/plans",
                &json!({ "policy": policy, "purpose": "run" }),
                EventType::PlanRequested,
            )?),
        }
        Ok(if state == "empty" { Planned::Nothing } else { Planned::UnderWay })
    }

    fn is_at_work(&self, plan: &Value) -> io::Result<bool> {
        let run = self.socket.get(&format!("/v1/runs/{}", plan["run"].as_str().expect("a run")))?;
        let state = run["state"].as_str().expect("a state");
        assert_ne!(state, "stuck", "a run is stuck: {run}");
        Ok(["requested", "running"].contains(&state))
    }

    fn holds(&mut self) -> io::Result<()> {
        let rows = self.socket.get("/v1/entities?state=present&limit=1000")?;
        let rows = rows["rows"].as_array().cloned().unwrap_or_default();
        let wanted = rows.iter().filter(|row| row["kind"] == "contact" || row["kind"] == "task");
        let names: Vec<&Value> = wanted.map(|row| &row["entity"]).collect();
        let names: Vec<&Value> = names.choose_multiple(&mut self.random, 2).copied().collect();
        if self.holds.len() >= HOLDS_MAX || names.is_empty() {
            return Ok(());
        }
        let entities: BTreeSet<EntityId> = names
            .iter()
            .map(|name| EntityId(u32::try_from(number(name).expect("a number")).expect("a number of an entity")))
            .collect();
        self.asked_to_hold = Some(entities.clone());
        let text = format!("{MARKER} case");
        let body = json!({ "name": text, "reason": text, "entities": names });
        let placed = self.asks("/v1/holds", &body, EventType::HoldPlaced);
        if let Ok(position) = placed {
            self.holds.push((position, entities));
            self.asked_to_hold = None;
        }
        // That an entity was purged in the meantime is no reason to stop.
        Ok(())
    }
}
