use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use retention_core::event::Event;
use retention_core::event::operation::DaemonStopped;
use retention_core::evidence::checkpoint::keys_of;
use retention_core::evidence::cosignature::check_cosigned;
use retention_core::evidence::tree;
use retention_core::id::Digest;
use retention_core::view::Condition;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::clock::ManualClock;
use crate::store::open::daemon_draft;
use crate::store::tests::{open_with_clock, sign_in};

/// How a witness misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// It cosigns, and its answer is lost.
    AnswerLost,
    WrongSignature,
    AnotherCheckpoint,
    /// Its time is so many seconds off.
    Late(i64),
    NoLines,
    Away,
    AnotherSizeEachTime,
    SameSize,
}

/// A witness in memory that keeps state, checks that the log only grew, and signs with a library that is none of the
/// log's.
struct Notary {
    name: &'static str,
    pair: Ed25519KeyPair,
    has: Option<(u64, Digest)>,
    lie: Lie,
    /// The sizes of all checkpoints that it was shown, and how many events it was told that it has.
    shown: Vec<(u64, u64)>,
    cosigned: Vec<u64>,
    clock: Arc<ManualClock>,
}

impl Notary {
    fn key(&self) -> WitnessKey {
        let key = [&[4], self.pair.public_key().as_ref()].concat();
        let number = digest(&SHA256, &[self.name.as_bytes(), b"\n", &key].concat());
        let number = hex::encode(&number.as_ref()[..4]);
        WitnessKey::parse(&format!("{}+{number}+{}", self.name, STANDARD.encode(key))).unwrap()
    }

    fn line(&self, text: &str) -> String {
        let off = if let Lie::Late(seconds) = self.lie { seconds } else { 0 };
        let seconds = u64::try_from(self.clock.now().unix_seconds() + off).unwrap();
        let text = if self.lie == Lie::AnotherCheckpoint { text.replace("log\n", "gol\n") } else { text.to_owned() };
        let mut signature =
            self.pair.sign(format!("cosignature/v1\ntime {seconds}\n{text}").as_bytes()).as_ref().to_vec();
        if self.lie == Lie::WrongSignature {
            signature[0] ^= 1;
        }
        let key = self.key();
        let number = hex::decode(key.text().split('+').nth(1).unwrap()).unwrap();
        let signed = [number, seconds.to_be_bytes().to_vec(), signature].concat();
        format!("\u{2014} stranger AAAA\n\u{2014} {} {}\n", self.name, STANDARD.encode(signed))
    }

    fn answer(&mut self, request: &str) -> Result<Answer, String> {
        let (head, note) = request.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
        let path: Vec<Digest> = lines.map(|line| Digest(STANDARD.decode(line).unwrap().try_into().unwrap())).collect();
        assert!(path.len() <= 63);
        let checkpoint = Checkpoint::verify(note, &[&keys_of(&[7; 32], "log").unwrap().1]).unwrap();
        self.shown.push((old, checkpoint.size));
        match self.lie {
            Lie::Away => return Err("it cannot be reached".to_owned()),
            Lie::NoLines => return Ok(Answer::Unreadable),
            Lie::AnotherSizeEachTime => return Ok(Answer::Has(self.shown.len() as u64)),
            Lie::SameSize => return Ok(Answer::Has(old)),
            _ => {}
        }
        let (has, root) = self.has.unwrap_or((0, Digest([0; 32])));
        if old != has {
            return Ok(Answer::Has(has));
        }
        assert!(checkpoint.size >= has, "a smaller log is never shown");
        let is_grown = match has {
            0 => path.is_empty(),
            has if has == checkpoint.size => {
                if root != checkpoint.root {
                    return Ok(Answer::Conflict);
                }
                path.is_empty()
            }
            _ => tree::check_growth(&path, (has, root), (checkpoint.size, checkpoint.root)).is_ok(),
        };
        if !is_grown {
            return Ok(Answer::ProofRefused);
        }
        self.has = Some((checkpoint.size, checkpoint.root));
        self.cosigned.push(checkpoint.size);
        match self.lie {
            Lie::AnswerLost => Err("it did not answer in time".to_owned()),
            _ => Ok(Answer::Cosigned(self.line(&checkpoint.text()))),
        }
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Notary>>);

impl Cosigning for Shared {
    fn ask(&mut self, request: &str) -> Result<Answer, String> {
        self.0.lock().answer(request)
    }
}

struct World {
    store: Arc<Store>,
    tree: Arc<Tree>,
    clock: Arc<ManualClock>,
    notary: Shared,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open_with_clock(dir.path());
        let tree = Arc::new(Tree::open(store.dir()).unwrap());
        let notary = notary("w1", 1, &clock);
        Self { store, tree, clock, notary, dir }
    }

    /// Lets so many events happen and signs a checkpoint over them. Returns how many events it covers.
    fn grow(&self, events: usize) -> u64 {
        for _ in 0..events {
            let event = daemon_draft(Event::DaemonStopped(DaemonStopped {}));
            self.store.append_drafts(vec![event], Condition::None).unwrap();
        }
        drop(sign_in(&self.store, &self.tree));
        self.store.view(|views| views.position.0)
    }

    fn witness(&self) -> Witness {
        self.witness_of(&self.notary, &[])
    }

    fn witness_of(&self, notary: &Shared, others: &[&Shared]) -> Witness {
        let key = notary.0.lock().key();
        let others = others.iter().map(|other| other.0.lock().key().text().to_owned()).collect();
        let named = Named { name: key.name().to_owned(), key, others };
        let (store, clock, tree) = (self.store.clone(), self.clock.clone(), self.tree.clone());
        Witness::new(store, clock, tree, named, Box::new(notary.clone()))
    }

    /// What a start finds: the files as they are, and nothing in memory.
    fn restarted(&mut self) {
        self.tree = Arc::new(Tree::open(self.store.dir()).unwrap());
        let last = self.store.view(|views| views.position);
        let new = (self.tree.next().0..=last.0).map(retention_core::id::Position);
        let new: Vec<_> = new.map(|at| self.store.envelope(at).unwrap().unwrap()).collect();
        self.tree.append(&new).unwrap();
    }

    fn key(&self) -> WitnessKey {
        self.notary.0.lock().key()
    }

    fn kept(&self) -> Option<u64> {
        self.tree.cosignatures().unwrap().newest_of(self.key().text()).map(|(size, _)| size)
    }

    /// Steps when the time for it has come.
    fn step_later(&self, witness: &mut Witness) -> Step {
        let step = witness.step().unwrap();
        let Step::IdleUntil(at) = step else { return step };
        self.clock.pass_until(at);
        witness.step().unwrap()
    }
}

fn notary(name: &'static str, seed: u8, clock: &Arc<ManualClock>) -> Shared {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let (clock, shown, cosigned) = (clock.clone(), Vec::new(), Vec::new());
    Shared(Arc::new(Mutex::new(Notary { name, pair, has: None, lie: Lie::None, shown, cosigned, clock })))
}

fn told(witness: &Witness) -> WitnessState {
    witness.health().lock().clone()
}

#[test]
fn a_checkpoint_is_cosigned_once_and_not_too_often_and_kept_beside_it() {
    let world = World::new();
    let mut witness = world.witness();
    assert!(matches!(witness.step().unwrap(), Step::IdleUntil(_)), "nothing is signed yet");
    let first = world.grow(3);
    assert_eq!(witness.step().unwrap(), Step::Idle);
    assert_eq!(witness.step().unwrap(), Step::Idle);
    world.grow(1);
    let newest = world.grow(5);
    let Step::IdleUntil(at) = witness.step().unwrap() else { panic!("it is too early to ask again") };
    world.clock.pass_until(at);
    assert_eq!(witness.step().unwrap(), Step::Idle);
    assert_eq!(world.notary.0.lock().shown, [(0, first), (first, newest)], "the newest, from where it was");
    let state = told(&witness);
    assert_eq!(
        (state.cosigned, state.behind, state.contradicts),
        (Some((newest, Timestamp(at.0 / 1_000_000 * 1_000_000))), None, None)
    );

    // Everything that is handed out has it: the checkpoint, proofs, growth.
    let key = world.key();
    let newest_told = world.tree.newest_told().unwrap().unwrap();
    assert_eq!(
        check_cosigned(&newest_told.note, newest, std::slice::from_ref(&key), 1).unwrap(),
        newest_told.cosignatures
    );
    let envelope = world.store.envelope(retention_core::id::Position(2)).unwrap().unwrap();
    let proof = world.tree.prove(&envelope).unwrap().unwrap();
    assert!(proof.verify(&[&keys_of(&[7; 32], "log").unwrap().1]).is_ok());
    assert!(check_cosigned(&proof.checkpoint, newest, std::slice::from_ref(&key), 1).is_ok());
    let growth = world.tree.prove_growth(first, newest).unwrap().unwrap();
    assert!(growth.verify(&[&keys_of(&[7; 32], "log").unwrap().1]).is_ok());
    for (note, size) in [(&growth.before, first), (&growth.after, newest)] {
        assert!(check_cosigned(note, size, std::slice::from_ref(&key), 1).is_ok());
    }
    // An event that only a checkpoint without a cosignature covers is proven all the same.
    let beyond = world.grow(1);
    let envelope = world.store.envelope(retention_core::id::Position(beyond)).unwrap().unwrap();
    let proof = world.tree.prove(&envelope).unwrap().unwrap();
    assert!(check_cosigned(&proof.checkpoint, beyond, &[key], 1).is_err());
    assert_eq!(world.tree.newest_cosigned().unwrap().unwrap().size, newest);
}

#[test]
fn a_crash_between_signing_asking_and_keeping_costs_one_more_question() {
    let mut world = World::new();
    let first = world.grow(3);
    // Signed, not asked.
    world.restarted();
    assert_eq!(world.witness().step().unwrap(), Step::Idle);
    assert_eq!(world.kept(), Some(first));
    // Asked and cosigned there, not kept here: first without growth since, then with some.
    for grown in [0, 4] {
        world.clock.advance(Duration::from_secs(60));
        let size = world.grow(5);
        world.notary.0.lock().lie = Lie::AnswerLost;
        let mut witness = world.witness();
        assert!(matches!(witness.step().unwrap(), Step::IdleUntil(_)));
        assert_eq!(told(&witness).behind.as_deref(), Some("it did not answer in time"));
        assert_eq!(world.notary.0.lock().has.unwrap().0, size);
        assert_ne!(world.kept(), Some(size));
        world.restarted();
        world.notary.0.lock().lie = Lie::None;
        let newest = if grown > 0 { world.grow(grown) } else { size };
        let mut witness = world.witness();
        assert_eq!(witness.step().unwrap(), Step::Idle);
        assert_eq!((world.kept(), told(&witness).behind), (Some(newest), None));
        assert_eq!(world.notary.0.lock().shown.last(), Some(&(size, newest)), "from where it said that it is");
    }
    // Torn while it was kept: at every byte.
    let path = world.store.dir().join("tree/cosignatures");
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let before = world.tree.cosignatures().unwrap().over(first).unwrap();
    for (cut, zeros) in (last..whole.len()).flat_map(|cut| [(cut, 0), (cut, 50)]) {
        std::fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
        world.restarted();
        assert!(world.kept() < world.notary.0.lock().has.map(|(size, _)| size), "{cut}");
        assert_eq!(world.tree.cosignatures().unwrap().over(first).unwrap(), before, "{cut}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), last as u64, "{cut}");
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(world.witness().step().unwrap(), Step::Idle, "{cut}");
        assert_eq!(world.kept(), world.notary.0.lock().has.map(|(size, _)| size), "{cut}");
    }
    let report = world.store.verify(&mut |_, _| {}).unwrap();
    assert_eq!(report.cosignatures, Some(3));
}

#[test]
fn what_a_witness_answers_is_believed_only_when_it_holds() {
    let cases = [
        (Lie::WrongSignature, "a cosignature of this witness is wrong"),
        (Lie::AnotherCheckpoint, "a cosignature of this witness is wrong"),
        (Lie::Late(-3_700), "one of the clocks is wrong, or it sent something old"),
        (Lie::Late(3_700), "one of the clocks is wrong, or it sent something old"),
        (Lie::NoLines, "no lines of signatures"),
        (Lie::Away, "it cannot be reached"),
        (Lie::SameSize, "the very size that it was told"),
    ];
    for (lie, says) in cases {
        let world = World::new();
        let mut witness = world.witness();
        let first = world.grow(3);
        world.notary.0.lock().lie = lie;
        let Step::IdleUntil(_) = witness.step().unwrap() else { panic!("it is asked again") };
        let state = told(&witness);
        assert!(state.behind.as_ref().is_some_and(|why| why.contains(says)), "{lie:?}: {state:?}");
        assert_eq!((world.kept(), state.contradicts), (None, None), "{lie:?}");
        assert!(!world.store.dir().join("tree/cosignatures").exists(), "{lie:?}");
        // It comes to itself.
        world.notary.0.lock().lie = Lie::None;
        assert_eq!(world.step_later(&mut witness), Step::Idle, "{lie:?}");
        assert_eq!((world.kept(), told(&witness).behind), (Some(first), None), "{lie:?}");
    }
}

#[test]
fn a_witness_that_says_another_size_each_time_is_not_asked_for_ever() {
    let world = World::new();
    let mut witness = world.witness();
    world.grow(30);
    world.notary.0.lock().lie = Lie::AnotherSizeEachTime;
    assert!(matches!(witness.step().unwrap(), Step::IdleUntil(_)));
    assert_eq!(world.notary.0.lock().shown.len(), 3);
    assert!(told(&witness).behind.unwrap().contains("another size each time"));
}

#[test]
fn a_time_before_the_last_one_is_refused() {
    let world = World::new();
    let mut witness = world.witness();
    let first = world.grow(3);
    witness.step().unwrap();
    world.grow(3);
    world.notary.0.lock().lie = Lie::Late(-60);
    assert!(matches!(world.step_later(&mut witness), Step::IdleUntil(_)));
    assert!(told(&witness).behind.unwrap().contains("which is before"));
    assert_eq!(world.kept(), Some(first));
}

#[test]
fn a_witness_that_is_away_is_asked_later_and_later() {
    let world = World::new();
    let mut witness = world.witness();
    world.notary.0.lock().lie = Lie::Away;
    world.grow(1);
    let mut waited = Vec::new();
    for _ in 0..9 {
        let before = crate::clock::Clock::now(world.clock.as_ref());
        let Step::IdleUntil(at) = witness.step().unwrap() else { panic!("it is tried again") };
        waited.push((at.0 - before.0) / 1_000_000);
        world.clock.pass_until(at);
    }
    assert_eq!(waited, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
}

#[test]
fn a_log_that_was_put_back_or_rewritten_is_an_alarm_that_stays() {
    // The witness cosigned more events than this log has: it was put back.
    let world = World::new();
    let size = world.grow(3);
    world.notary.0.lock().has = Some((size + 4, Digest([1; 32])));
    let mut witness = world.witness();
    assert!(matches!(witness.step().unwrap(), Step::IdleUntil(_)));
    let says = format!("a checkpoint of {} events, and this log has signed {size} at most", size + 4);
    assert!(told(&witness).contradicts.unwrap().contains(&says));
    assert!(world.notary.0.lock().cosigned.is_empty());
    // It has grown past that with other events: the proof does not fit.
    world.grow(9);
    assert!(matches!(world.step_later(&mut witness), Step::IdleUntil(_)));
    assert!(told(&witness).contradicts.unwrap().contains("does not continue the one"));
    // Another log of the very size.
    let newest = world.tree.covered();
    world.notary.0.lock().has = Some((newest, Digest([1; 32])));
    assert!(matches!(world.step_later(&mut witness), Step::IdleUntil(_)));
    assert!(told(&witness).contradicts.unwrap().contains("has another root"));
    // That it is out of reach now takes nothing back.
    world.notary.0.lock().lie = Lie::Away;
    assert!(matches!(world.step_later(&mut witness), Step::IdleUntil(_)));
    assert!(told(&witness).behind.is_some() && told(&witness).contradicts.unwrap().contains("has another root"));
    assert_eq!(world.kept(), None);
    assert!(world.notary.0.lock().shown.iter().all(|(old, size)| old <= size));
}

#[test]
fn a_log_that_is_shorter_than_what_was_cosigned_is_an_alarm_before_anybody_is_asked() {
    let mut world = World::new();
    let size = world.grow(3);
    world.witness().step().unwrap();
    std::fs::write(world.store.dir().join("tree/checkpoints"), b"").unwrap();
    world.restarted();
    let mut witness = world.witness();
    witness.step().unwrap();
    assert!(
        told(&witness)
            .contradicts
            .unwrap()
            .contains(&format!("a checkpoint of {size} events, as tree/cosignatures says"))
    );
    assert_eq!(world.notary.0.lock().shown.len(), 1);
    // Once it has as many again, the witness decides.
    world.grow(2);
    assert_eq!(witness.step().unwrap(), Step::Idle);
    assert_eq!(told(&witness).contradicts, None);
}

#[test]
fn a_witness_that_forgot_is_told_of_and_goes_on() {
    let world = World::new();
    let mut witness = world.witness();
    world.grow(3);
    witness.step().unwrap();
    world.notary.0.lock().has = None;
    let newest = world.grow(3);
    assert_eq!(world.step_later(&mut witness), Step::Idle);
    assert_eq!(world.kept(), Some(newest));
    assert!(told(&witness).contradicts.unwrap().contains("it lost what it knew"));
}

#[test]
fn all_witnesses_cosign_the_same_checkpoints() {
    let world = World::new();
    let second = notary("w2", 2, &world.clock);
    let mut one = world.witness_of(&world.notary, &[&second]);
    let mut two = world.witness_of(&second, &[&world.notary]);
    let first = world.grow(3);
    one.step().unwrap();
    let newest = world.grow(4);
    // The other comes later, and is shown what the first one has.
    two.step().unwrap();
    assert_eq!(second.0.lock().cosigned, [first]);
    world.clock.advance(Duration::from_secs(10));
    one.step().unwrap();
    two.step().unwrap();
    assert_eq!(second.0.lock().cosigned, [first, newest]);
    let keys = [world.key(), second.0.lock().key()];
    let told = world.tree.newest_cosigned().unwrap().unwrap();
    assert_eq!((told.size, check_cosigned(&told.note, newest, &keys, 2).unwrap().len()), (newest, 2));
    // One that is away keeps the other from nothing; proofs are by what most have.
    second.0.lock().lie = Lie::Away;
    world.clock.advance(Duration::from_secs(10));
    let alone = world.grow(2);
    one.step().unwrap();
    two.step().unwrap();
    assert_eq!(world.kept(), Some(alone));
    assert_eq!(world.tree.newest_cosigned().unwrap().unwrap().size, newest);
}

#[test]
fn damaged_cosignatures_are_told_and_keep_nothing_else_from_its_work() {
    let mut world = World::new();
    let size = world.grow(3);
    world.witness().step().unwrap();
    let path = world.store.dir().join("tree/cosignatures");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() - 1 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        world.restarted();
        let report = world.store.verify(&mut |_, _| {}).unwrap();
        assert!(report.findings.iter().any(|finding| finding.code().starts_with("cosignature")), "{at}");
        assert_eq!(std::fs::read(&path).unwrap(), changed, "{at}: nothing is mended in silence");
        // What does not hold is not handed out.
        let told = world.tree.newest_told().unwrap().unwrap();
        assert_eq!((told.size, told.cosignatures.len()), (size, 0), "{at}");
    }
    std::fs::write(&path, b"what is this?\n").unwrap();
    world.restarted();
    let mut witness = world.witness();
    assert_eq!(witness.step().unwrap(), Step::Idle);
    assert!(told(&witness).behind.unwrap().contains("tree/cosignatures is damaged at byte 0"));
    assert!(world.grow(1) > size, "checkpoints are signed as before");
    // A checkpoint that was taken away since is found by what a witness signed over it.
    std::fs::write(&path, &whole).unwrap();
    std::fs::write(world.store.dir().join("tree/checkpoints"), b"").unwrap();
    let report = world.store.verify(&mut |_, _| {}).unwrap();
    assert!(report.findings.iter().any(|finding| finding.code() == "cosignature_without_checkpoint"), "{report:?}");
    assert!(world.dir.path().exists());
}
