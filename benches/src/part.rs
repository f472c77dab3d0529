//! What runs in a process of its own, so that its memory can be measured and it can be killed. Each part prints one
//! line of JSON.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use retention_core::control::{Line, PolicyFileText, SoughtSubject};
use retention_core::event::decision::{PlanApproved, PlanPurpose, PlanRequested, RunRequested};
use retention_core::event::saga::Step as ScriptStep;
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::evidence::checkpoint::keys_of;
use retention_core::evidence::tree::{Frontier, leaf};
use retention_core::id::{EntityId, LayoutId, PlanId, Position};
use retention_core::policy::{Assessment, BoundSet, PolicyFile, PolicySet};
use retention_core::record::Layout;
use retention_core::time::Timestamp;
use retention_core::view::{Condition, PlanState};
use retentiond::clock::ManualClock;
use retentiond::control::{Audience, judgement, subjects};
use retentiond::stage::Step;
use retentiond::store::tree::Tree;
use retentiond::store::{Store, state::facts};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::data::Random;
use crate::figure::{self, Memory, Stopwatch, cpu_seconds};
use crate::mailbox;
use crate::ours::{DUE_AT, Ours, POLICIES, POLICY, Place, TAKEN_IN_AT, THREE_LEAVES};

/// What a process does.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Takes the file in, then closes.
    Fill { place: PathBuf, csv: PathBuf },
    /// Takes the file in, then waits to be killed.
    FillAndWait { place: PathBuf, csv: PathBuf },
    /// Opens and looks at the memory.
    Open { place: PathBuf },
    /// Makes everything in sled again.
    Rebuild { place: PathBuf },
    /// Waits until the schedule has planned, with nothing due.
    NothingDue { place: PathBuf },
    /// Purges what is due.
    Purge { place: PathBuf },
    /// Reads the events of entities picked at random.
    History { place: PathBuf },
    /// Compares a set of policies with the active one.
    PolicyDiff { place: PathBuf },
    /// Selects by a filter of three leaves.
    Filter { place: PathBuf },
    /// Explains entities picked at random.
    Explain { place: PathBuf },
    /// Looks for one person.
    FindPerson { place: PathBuf },
    /// Purges old mail from mailboxes on a server.
    MailPurge { place: PathBuf, mailboxes: PathBuf },
    /// Grows the tree over the log, and proves and checks it.
    Evidence { place: PathBuf },
}

/// What an intake took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Filled {
    /// Seconds until everything was durable and in all views.
    pub(crate) seconds: f64,
    /// Processor seconds of all threads.
    pub(crate) cpu: f64,
    /// Events in the log.
    pub(crate) events: u64,
    /// Memory afterwards.
    pub(crate) memory: Memory,
}

/// What an open took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Seconds until the store could be used.
    pub(crate) seconds: f64,
    /// Events in the log.
    pub(crate) events: u64,
    /// Events that were folded anew.
    pub(crate) folded: u64,
    /// Memory afterwards.
    pub(crate) memory: Memory,
}

/// Milliseconds of many single calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// Each call.
    pub(crate) ms: Vec<f64>,
}

/// What a purge took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Purged {
    /// Items purged.
    pub(crate) items: u64,
    /// Seconds to plan.
    pub(crate) plan: f64,
    /// Seconds from the request of the run to its end.
    pub(crate) run: f64,
    /// Processor seconds of all threads, from the request of the plan to the end of the run.
    pub(crate) cpu: f64,
    /// Memory afterwards.
    pub(crate) memory: Memory,
}

/// Does one part.
pub(crate) fn run(args: &Args) -> Outcome<()> {
    retentiond::supervise::memory::keep_pages_small();
    let place = |path: &Path| Place(path.to_owned());
    match &args.what {
        What::Fill { place: at, csv } => {
            let (ours, filled) = fill(&place(at), csv)?;
            ours.close()?;
            tell(&filled)
        }
        What::FillAndWait { place: at, csv } => {
            let (ours, filled) = fill(&place(at), csv)?;
            tell(&filled)?;
            // The other end is closed only by the death of the bench, or by ours.
            std::io::stdin().read_to_end(&mut Vec::new())?;
            drop(ours);
            Ok(())
        }
        What::Open { place: at } => open(&place(at)),
        What::Rebuild { place: at } => rebuild(&place(at)),
        What::NothingDue { place: at } => nothing_due(&place(at)),
        What::Purge { place: at } => purge(&place(at)),
        What::History { place: at } => history(&place(at)),
        What::PolicyDiff { place: at } => policy_diff(&place(at)),
        What::Filter { place: at } => filter(&place(at)),
        What::Explain { place: at } => explain(&place(at)),
        What::FindPerson { place: at } => find_person(&place(at)),
        What::MailPurge { place: at, mailboxes } => tell(&mailbox::purge(&place(at), &mailbox::read(mailboxes)?)?),
        What::Evidence { place: at } => evidence(&place(at)),
    }
}

fn tell<T: Serialize>(figures: &T) -> Outcome<()> {
    figure::say(&serde_json::to_string(figures)?);
    Ok(())
}

/// Starts a part and returns what it said.
pub(crate) fn ask<T: DeserializeOwned>(args: &[&str]) -> Outcome<T> {
    let (mut child, answer) = start(args)?;
    if child.wait()?.success() { Ok(answer) } else { Err("a part of the bench failed".into()) }
}

/// Starts a part, waits for what it says, and returns it running.
pub(crate) fn start<T: DeserializeOwned>(args: &[&str]) -> Outcome<(Child, T)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg("part").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().ok_or("a part of the bench has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let answer = serde_json::from_str(&line).map_err(|_| format!("a part of the bench said: {line}"))?;
    Ok((child, answer))
}

fn last(store: &Store) -> u64 {
    store.view(|views| views.position.0)
}

fn fill(place: &Place, csv: &Path) -> Outcome<(Ours, Filled)> {
    place.make()?;
    let ours = Ours::open(place, TAKEN_IN_AT)?;
    let (watch, cpu) = (Stopwatch::start(), figure::cpu_seconds()?);
    ours.take_in(csv)?;
    ours.judge()?;
    let (seconds, cpu) = (watch.seconds(), figure::cpu_seconds()? - cpu);
    if !ours.store.view(|views| views.due.is_complete()) {
        return Err("the due index is not complete".into());
    }
    let filled = Filled { seconds, cpu, events: last(&ours.store), memory: Memory::of_this_process()? };
    Ok((ours, filled))
}

fn open(place: &Place) -> Outcome<()> {
    let options = place.options(Arc::new(ManualClock::starting_at(TAKEN_IN_AT)))?;
    let watch = Stopwatch::start();
    let store = Store::open(&options, &mut |_, _| {})?;
    let seconds = watch.seconds();
    let memory = Memory::of_this_process()?;
    tell(&Opened { seconds, events: last(&store), folded: store.report().folded, memory })?;
    Ok(store.close()?)
}

fn rebuild(place: &Place) -> Outcome<()> {
    let options = place.options(Arc::new(ManualClock::starting_at(TAKEN_IN_AT)))?;
    let watch = Stopwatch::start();
    let store = Store::rebuild(&options, &mut |_, _| {})?;
    let seconds = watch.seconds();
    let opened =
        Opened { seconds, events: last(&store), folded: store.report().folded, memory: Memory::of_this_process()? };
    store.close()?;
    tell(&opened)
}

/// How many scheduled runs are timed, one on each day; the first contacts fall due on the seventeenth.
const DAYS: i64 = 12;

const DAY_US: i64 = 86_400_000_000;

fn nothing_due(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, TAKEN_IN_AT)?;
    let (mut schedule, mut plan) = (ours.schedule(), ours.plan());
    let mut ms = Vec::new();
    for day in 1..=DAYS {
        ours.clock.pass_until(Timestamp(TAKEN_IN_AT.0 + day * DAY_US + DAY_US / 2));
        let watch = Stopwatch::start();
        schedule.step()?;
        while plan.step()? == Step::Worked {}
        ms.push(watch.seconds() * 1_000.0);
        let now = Timestamp(TAKEN_IN_AT.0 + day * DAY_US);
        let state = ours.store.view(|views| views.small.plans.iter().next_back().map(|(_, plan)| plan.state(now)));
        if state != Some(PlanState::Empty) {
            return Err(format!("the scheduled plan is {state:?}").into());
        }
    }
    drop((schedule, plan));
    ours.close()?;
    tell(&Calls { ms })
}

fn request(actor: Actor, event: Event) -> Draft {
    Draft { stream: stream_of_daemon(), entity: None, actor, cause: Position::NONE, occurred_at: None, event }
}

fn purge(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, DUE_AT)?;
    let store = &ours.store;
    let (operator, approver) = (Actor::Person(1_000), Actor::Person(1_001));
    let event = PlanRequested { policy: POLICY.to_owned(), purpose: PlanPurpose::Run, as_of: None };
    let watch = Stopwatch::start();
    let cpu = figure::cpu_seconds()?;
    let asked = store.append_drafts(vec![request(operator, Event::PlanRequested(event))], Condition::None)?;
    let mut plan = ours.plan();
    while plan.step()? == Step::Worked {}
    let planned = watch.seconds();
    drop(plan);
    let plan = PlanId(asked.last);
    let digest = store.view(|views| views.small.plans.get(plan).and_then(|plan| plan.digest()));
    let digest = digest.ok_or("the plan was not frozen")?;
    let approval = Event::PlanApproved(PlanApproved { plan, digest, comment: String::new() });
    store.append_drafts(vec![request(approver, approval)], Condition::None)?;
    let wanted = Event::RunRequested(RunRequested { plan, digest });
    let watch = Stopwatch::start();
    store.append_drafts(vec![request(operator, wanted)], Condition::None)?;
    let mut run = ours.run();
    while run.step()? == Step::Worked {}
    let seconds = watch.seconds();
    drop(run);
    let items = store.view(|views| views.small.runs.iter().map(|(_, run)| run.purged).sum());
    let cpu = figure::cpu_seconds()? - cpu;
    let purged = Purged { items, plan: planned, run: seconds, cpu, memory: Memory::of_this_process()? };
    ours.close()?;
    tell(&purged)
}

/// Names what the stage has just recorded.
pub(crate) fn newest_step(store: &Store) -> Outcome<String> {
    let newest = store.read(store.view(|views| views.position))?;
    Ok(match newest.as_ref().and_then(|recorded| recorded.event()) {
        Some(Event::StepSucceeded(body)) => match body.step {
            ScriptStep::Purge => "destroy and record".to_owned(),
            step => step.name().to_owned(),
        },
        Some(event) => event.event_type().name().to_owned(),
        None => "unreadable".to_owned(),
    })
}

/// How many entities are asked for.
const ASKED_FOR: u64 = 2_000;

fn history(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, TAKEN_IN_AT)?;
    let bound = ours.store.view(|views| views.entities.bound());
    let mut random = Random(crate::data::SEED);
    let mut ms = Vec::new();
    for _ in 0..ASKED_FOR {
        let entity = EntityId(1 + u32::try_from(random.below(u64::from(bound - 1)))?);
        let watch = Stopwatch::start();
        let mut position = ours.store.view(|views| views.entities.last_event(entity));
        while let Some(row) = ours.store.row(position)? {
            drop(ours.store.read(position)?);
            position = row.previous;
        }
        ms.push(watch.seconds() * 1_000.0);
    }
    ours.close()?;
    tell(&Calls { ms })
}

/// How often sets are compared.
const COMPARISONS: usize = 3;

fn policy_diff(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, DUE_AT)?;
    // A year less for one of the policies.
    let shorter = POLICIES.map(|(name, text)| (name.to_owned(), text.replace("P3Y", "P2Y")));
    let files = shorter.map(|(name, text)| PolicyFileText { name, text });
    let mut ms = Vec::new();
    for _ in 0..COMPARISONS {
        let watch = Stopwatch::start();
        let rows = judgement::diff(&ours.store, &files, DUE_AT).map_err(|error| format!("{error:?}"))?;
        ms.push(watch.seconds() * 1_000.0);
        if rows.iter().all(|row| row.newly_due == 0) {
            return Err("a shorter period makes nothing due".into());
        }
    }
    ours.close()?;
    tell(&Calls { ms })
}

/// What a selection by a filter took.
#[derive(Serialize, Deserialize)]
pub(crate) struct Selected {
    /// Entities that were looked at.
    pub(crate) entities: u64,
    /// Those that the filter selects.
    pub(crate) selected: u64,
    /// Seconds of the filter alone, on one core, with the records at hand.
    pub(crate) filter_seconds: f64,
    /// Seconds from the question to the answer, with reading, opening and judging on all cores.
    pub(crate) whole_seconds: f64,
    /// Processor seconds of that.
    pub(crate) whole_cpu: f64,
}

/// How many records are at hand at a time.
const AT_HAND: u32 = 10_000;

fn filter(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, DUE_AT)?;
    let (name, text) = THREE_LEAVES;
    let set = PolicySet::check(&[PolicyFile { stem: name, text }]).map_err(|errors| format!("{errors:?}"))?;
    let (mut entities, mut selected, mut filter_seconds) = (0, 0, 0.0);
    let mut bound: BTreeMap<LayoutId, (Layout, BoundSet)> = BTreeMap::new();
    let numbers = ours.store.view(|views| views.entities.bound());
    for from in (0..numbers).step_by(AT_HAND as usize) {
        let at_hand: Vec<EntityId> = (from..numbers.min(from + AT_HAND)).map(EntityId).collect();
        let subjects = ours.store.subjects(&at_hand);
        let versions: Vec<Position> = subjects.iter().map(|subject| subject.row.version).collect();
        let records = ours.store.records_at(&versions)?;
        for record in records.iter().flatten() {
            if let Entry::Vacant(place) = bound.entry(record.layout) {
                let layout = ours.store.view(|views| views.small.layouts.get(record.layout).cloned());
                let layout = layout.ok_or("a layout is missing")?;
                let sets = set.bind(&layout);
                place.insert((layout, sets));
            }
        }
        let watch = Stopwatch::start();
        for (subject, record) in subjects.iter().zip(&records) {
            let Some(record) = record else { continue };
            let Some((layout, set)) = bound.get(&record.layout) else { continue };
            let facts = facts(layout, record, &subject.row, subject.open_deals, &subject.activities);
            for policy in set.policies().iter().filter(|policy| !policy.is_elsewhere()) {
                entities += 1;
                selected += u64::from(policy.assess(&facts) != Assessment::OutOfScope);
            }
        }
        filter_seconds += watch.seconds();
    }
    let mut files: Vec<PolicyFileText> = Vec::new();
    for (name, text) in POLICIES.iter().copied().chain([THREE_LEAVES]) {
        files.push(PolicyFileText { name: name.to_owned(), text: text.to_owned() });
    }
    let (watch, cpu) = (Stopwatch::start(), cpu_seconds()?);
    let rows = judgement::diff(&ours.store, &files, DUE_AT).map_err(|error| format!("{error:?}"))?;
    let (whole_seconds, whole_cpu) = (watch.seconds(), cpu_seconds()? - cpu);
    let due = rows.iter().find(|row| row.policy == name).map(|row| row.newly_due);
    if due != Some(selected) {
        return Err(format!("the filter selects {selected}, the comparison {due:?}").into());
    }
    ours.close()?;
    tell(&Selected { entities, selected, filter_seconds, whole_seconds, whole_cpu })
}

fn explain(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, DUE_AT)?;
    let bound = ours.store.view(|views| views.entities.bound());
    let mut random = Random(crate::data::SEED);
    let mut ms = Vec::new();
    while (ms.len() as u64) < ASKED_FOR {
        let entity = EntityId(1 + u32::try_from(random.below(u64::from(bound - 1)))?);
        let watch = Stopwatch::start();
        // The intake is an entity too, and no policy is about it.
        if judgement::explain(&ours.store, entity, DUE_AT).is_ok() {
            ms.push(watch.seconds() * 1_000.0);
        }
    }
    ours.close()?;
    tell(&Calls { ms })
}

fn find_person(place: &Place) -> Outcome<()> {
    let ours = Ours::open(place, DUE_AT)?;
    let entity = ours.store.view(|views| views.entities.numbers_from(views.entities.bound() / 2).next());
    let record = entity.map(|entity| ours.store.record(entity)).transpose()?.flatten().ok_or("no contact")?;
    let (emails, ids) = (vec!["jana@example.org".to_owned()], vec![record.external_id]);
    let sought = SoughtSubject { emails, ids, ..SoughtSubject::default() };
    let mut ms = Vec::new();
    for _ in 0..COMPARISONS {
        let mut rows = 0;
        let watch = Stopwatch::start();
        subjects::find_for(&ours.store, 0, &sought, &mut |line| {
            rows += u64::from(matches!(line, Line::Row(_)));
            Audience::Listening
        })
        .map_err(|error| format!("{error:?}"))?;
        ms.push(watch.seconds() * 1_000.0);
        if rows == 0 {
            return Err("a contact that is there is not found".into());
        }
    }
    ours.close()?;
    tell(&Calls { ms })
}

/// Figures of the tree.
#[derive(Serialize, Deserialize)]
pub(crate) struct Proven {
    /// How many events it covers.
    pub(crate) events: u64,
    /// How long it took to grow over all of them.
    pub(crate) grown_seconds: f64,
    /// The processor time of that.
    pub(crate) grown_cpu_seconds: f64,
    /// How long proofs of single events took.
    pub(crate) event_ms: Vec<f64>,
    /// How long proofs of growth took.
    pub(crate) growth_ms: Vec<f64>,
    /// How long it took to compute the root anew from the envelopes.
    pub(crate) checked_seconds: f64,
}

/// How many checkpoints are signed while the tree grows, and how many proofs are asked for.
const CHECKPOINTS: u64 = 100;
const PROOFS: u64 = 1_000;

fn evidence(place: &Place) -> Outcome<()> {
    let clock = ManualClock::starting_at(TAKEN_IN_AT);
    let store = Store::open(&place.options(Arc::new(clock))?, &mut |_, _| {})?;
    let events = last(&store);
    let (signer, _) = keys_of(&[7; 32], "bench")?;
    let tree = Tree::open(store.dir())?;
    let (watch, cpu) = (Stopwatch::start(), cpu_seconds()?);
    let mut sizes = Vec::new();
    while tree.leaves() < events {
        let from = tree.next().0;
        let upto = events.min(from + 9_999);
        tree.append(&store.envelopes(Position(from), Position(upto))?)?;
        if sizes.len() as u64 <= tree.leaves() * CHECKPOINTS / events {
            tree.checkpoint("bench", &signer)?;
            sizes.push(tree.leaves());
        }
    }
    let (grown_seconds, grown_cpu_seconds) = (watch.seconds(), cpu_seconds()? - cpu);
    tree.checkpoint("bench", &signer)?;
    sizes.push(events);
    sizes.dedup();
    let all = store.envelopes(Position(1), Position(events))?;
    let mut event_ms = Vec::new();
    for number in 0..PROOFS {
        let envelope = all.get(usize::try_from(number * events / PROOFS)?).ok_or("an event is missing")?;
        let watch = Stopwatch::start();
        tree.prove(envelope)?.ok_or("no checkpoint covers it")?;
        event_ms.push(watch.seconds() * 1_000.0);
    }
    let mut growth_ms = Vec::new();
    for pair in sizes.windows(2) {
        if let [before, after] = pair {
            let watch = Stopwatch::start();
            tree.prove_growth(*before, *after)?.ok_or("no checkpoint covers it")?;
            growth_ms.push(watch.seconds() * 1_000.0);
        }
    }
    let watch = Stopwatch::start();
    let mut frontier = Frontier::default();
    for envelope in &all {
        frontier.push(leaf(&envelope.to_bytes()), |_| {});
    }
    if frontier.root() != tree.root_at(events)? {
        return Err("the root is another one".into());
    }
    let checked_seconds = watch.seconds();
    tell(&Proven { events, grown_seconds, grown_cpu_seconds, event_ms, growth_ms, checked_seconds })
}
