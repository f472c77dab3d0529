//! Witness: each signed checkpoint is shown to an independent witness, with the proof that the log only grew since the
//! one before, and what it signs is kept. Each witness has a stage of its own, so that one that hangs keeps no other
//! waiting.
//!
//! Order: a checkpoint is signed and durable, then a witness is asked, then what it signed is checked and kept, and
//! only then handed out. After a crash between two of these the witness is asked again; it signs the same once more.
//!
//! **What it signed is remembered, and no smaller log is ever shown to it.** A witness that says that it signed more
//! than this log has, or that this log is another one, may be the only one who knows that the log was put back or
//! replaced: people are told, loudly, until it is resolved.

use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::cosignature::exchange::{Answer, request};
use retention_core::evidence::cosignature::{Cosignature, WitnessKey, WitnessState, parts_of};
use retention_core::time::Timestamp;

use super::{StageError, Step, is_over, look_again};
use crate::clock::Clock;
use crate::connector::witness::Cosigning;
use crate::store::tree::{Cosignatures, Tree, TreeFileError};
use crate::store::{ReadError, Store};

/// How often a witness is asked at most, in microseconds: while the log grows, a checkpoint is signed each second.
const ASK_EVERY_US: i64 = 10_000_000;

/// How long is waited after a failure, in microseconds: doubled from ten seconds up to ten minutes.
const RETRY_FIRST_US: i64 = 10_000_000;
const RETRY_MAX_US: i64 = 600_000_000;

/// How far the clock of a witness may be from ours, in seconds: an hour.
const CLOCKS_APART_SECONDS_MAX: u64 = 3_600;

/// How often a witness that says how far it is is asked again at once.
const ASKS_MAX: u32 = 3;

/// Where it is said how a witness stands.
pub type WitnessHealth = Arc<Mutex<WitnessState>>;

/// Why a witness did not cosign.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It is not there, or answers something that nobody can use.
    Behind(String),
    /// This log is not the one that it knows.
    Contradicts(String),
}

impl From<TreeFileError> for Refused {
    fn from(error: TreeFileError) -> Self {
        Self::Behind(error.to_string())
    }
}

/// The stage.
pub struct Witness {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    tree: Arc<Tree>,
    name: String,
    key: WitnessKey,
    /// The keys of the other witnesses: the same checkpoints are shown to all.
    others: Vec<String>,
    asked: Box<dyn Cosigning>,
    /// That it forgot what it cosigned: remembered while the daemon runs.
    forgot: Option<String>,
    not_before: Timestamp,
    /// How long was waited after it failed lately.
    waited: Option<i64>,
    health: WitnessHealth,
}

/// A witness as it is configured.
pub struct Named {
    /// What people call it.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// The keys of the other witnesses.
    pub others: Vec<String>,
}

impl Witness {
    /// Asks this witness.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        tree: Arc<Tree>,
        named: Named,
        asked: Box<dyn Cosigning>,
    ) -> Self {
        let Named { name, key, others } = named;
        let kept = tree.cosignatures().ok().and_then(|kept| kept.newest_of(key.text()));
        let health = Arc::new(Mutex::new(WitnessState { cosigned: kept, ..WitnessState::default() }));
        let (forgot, waited, not_before) = (None, None, Timestamp(i64::MIN));
        Self { store, clock, tree, name, key, others, asked, forgot, not_before, waited, health }
    }

    /// Returns where it is said how the witness stands.
    #[must_use]
    pub fn health(&self) -> WitnessHealth {
        Arc::clone(&self.health)
    }

    /// Shows the witness a checkpoint that it has not cosigned, unless there is none or its time has not come.
    ///
    /// # Errors
    /// When the checkpoints cannot be read. What the witness says, and that what it signed cannot be kept, is told by
    /// [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        let tree = Arc::clone(&self.tree);
        let kept = match tree.cosignatures() {
            Ok(kept) => kept,
            Err(error) => {
                self.health.lock().behind = Some(error.to_string());
                return Ok(Step::Idle);
            }
        };
        if let Some((size, at)) = kept.newest_of(self.key.text()).filter(|(size, _)| *size > tree.covered()) {
            let why = format!(
                "at {at} it cosigned a checkpoint of {size} events, as tree/cosignatures says, and this log has signed {} at most: \
                 the log was put back or replaced. Nothing is shown to it before the log has as many; find out why",
                tree.covered()
            );
            if self.health.lock().contradicts.replace(why.clone()).is_none() {
                tracing::error!(witness = self.name, why, "a witness contradicts this log");
            }
            return Ok(look_again(&self.store, &*self.clock, &self.tree, None));
        }
        let Some((size, note)) = self.wanted(&tree, kept).map_err(ReadError::from)? else {
            return Ok(look_again(&self.store, &*self.clock, &self.tree, None));
        };
        let now = self.clock.now();
        if is_over(self.not_before, now, RETRY_MAX_US) {
            let asked = self.ask(&tree, kept, (size, note));
            self.note(kept, asked, now);
        }
        let has_newest = kept.newest_of(self.key.text()).is_some_and(|(has, _)| has >= tree.covered());
        let wake = (!has_newest).then_some(self.not_before);
        Ok(look_again(&self.store, &*self.clock, &self.tree, wake))
    }

    /// Returns the checkpoint that it is to cosign: one that another witness cosigned and it did not, so that all
    /// cosign the same; else the newest.
    fn wanted(&self, tree: &Tree, kept: &Cosignatures) -> Result<Option<(u64, String)>, TreeFileError> {
        let has = kept.newest_of(self.key.text()).map_or(0, |(size, _)| size);
        let of_others = self.others.iter().filter_map(|key| kept.newest_of(key)).map(|(size, _)| size).max();
        if let Some(size) = of_others.filter(|size| *size > has)
            && let Some(note) = tree.note_over(size)?
        {
            return Ok(Some((size, note)));
        }
        Ok(tree.newest()?.filter(|(size, _)| *size > has))
    }

    /// Asks, again when it says how far it is, and keeps what it signed.
    fn ask(&mut self, tree: &Tree, kept: &Cosignatures, (mut size, mut note): (u64, String)) -> Result<(), Refused> {
        let before = kept.newest_of(self.key.text());
        let mut old = before.map_or(0, |(size, _)| size);
        for _ in 0..ASKS_MAX {
            if old > size {
                (size, note) = covering(tree, old)?;
            }
            let checkpoint = Checkpoint::unverified(&note).map_err(TreeFileError::from)?;
            let path = tree.growth_since(old, &checkpoint)?;
            let request = request(old, &path, &note);
            let request = request.ok_or_else(|| Refused::Behind("no witness takes so long a proof".to_owned()))?;
            match self.asked.ask(&request).map_err(Refused::Behind)? {
                Answer::Cosigned(lines) => {
                    kept.keep(self.read(before, size, &note, &lines)?)?;
                    return Ok(());
                }
                Answer::Has(has) if has != old => {
                    if let Some((cosigned, at)) = before.filter(|(cosigned, _)| has < *cosigned) {
                        self.forgot = Some(format!(
                            "it says that it cosigned {has} events at most, and at {at} it cosigned {cosigned}: it lost what it knew, \
                             so whoever holds this machine could show it another log. Ask who runs it; it is shown the log as it is"
                        ));
                    }
                    old = has;
                }
                answer => return Err(refused(&answer, old, size, &checkpoint.origin)),
            }
        }
        Err(Refused::Behind("it says another size each time that it is asked".to_owned()))
    }

    /// Believes a cosignature only when it is one of this witness, over this checkpoint, made now.
    fn read(
        &self,
        before: Option<(u64, Timestamp)>,
        size: u64,
        note: &str,
        lines: &str,
    ) -> Result<Cosignature, Refused> {
        let text = parts_of(note).map_or("", |(text, _)| text);
        let cosignature = self.key.cosignature(size, text, lines);
        let cosignature = cosignature.map_err(|error| Refused::Behind(format!("it answered, but {error}")))?;
        let (at, now) = (cosignature.at(), self.clock.now());
        if at.unix_seconds().abs_diff(now.unix_seconds()) > CLOCKS_APART_SECONDS_MAX {
            return Err(Refused::Behind(format!(
                "it says that it cosigned at {at}, and here it is {now}: one of the clocks is wrong, or it sent something old"
            )));
        }
        if let Some((_, before)) = before.filter(|(_, before)| *before > at) {
            return Err(Refused::Behind(format!(
                "it says that it cosigned at {at}, which is before {before}, when it did last"
            )));
        }
        Ok(cosignature)
    }

    fn note(&mut self, kept: &Cosignatures, asked: Result<(), Refused>, now: Timestamp) {
        let (behind, contradicts) = match asked {
            Ok(()) => (None, None),
            Err(Refused::Behind(why)) => (Some(why), None),
            Err(Refused::Contradicts(why)) => (None, Some(why)),
        };
        let wait = match behind.as_ref().or(contradicts.as_ref()) {
            None => {
                self.waited = None;
                ASK_EVERY_US
            }
            Some(why) => {
                match contradicts {
                    Some(_) => tracing::error!(witness = self.name, why, "a witness contradicts this log"),
                    None => tracing::warn!(witness = self.name, why, "a witness did not cosign the checkpoint"),
                }
                let wait = self.waited.map_or(RETRY_FIRST_US, |waited| (waited * 2).min(RETRY_MAX_US));
                self.waited = Some(wait);
                wait
            }
        };
        self.not_before = Timestamp(now.0.saturating_add(wait));
        let mut health = self.health.lock();
        // What it said stays until it cosigns: that it is out of reach now takes nothing back.
        let before = health.contradicts.take().filter(|_| behind.is_some());
        let contradicts = contradicts.or(before).or_else(|| self.forgot.clone());
        *health = WitnessState { cosigned: kept.newest_of(self.key.text()), behind, contradicts };
    }
}

/// It has cosigned more than it was about to be shown: the newest checkpoint covers that, or this log was put back.
fn covering(tree: &Tree, has: u64) -> Result<(u64, String), Refused> {
    let newest = tree.newest()?;
    let covered = newest.as_ref().map_or(0, |(size, _)| *size);
    newest.filter(|(size, _)| *size >= has).ok_or_else(|| {
        Refused::Contradicts(format!(
            "it says that it cosigned a checkpoint of {has} events, and this log has signed {covered} at most: the log was put back \
             or replaced, or the witness is wrong. Nothing was sent after that; ask who runs it for the checkpoint, keep it, and \
             find out why"
        ))
    })
}

fn refused(answer: &Answer, old: u64, size: u64, origin: &str) -> Refused {
    let other_log = |what: &str| {
        Refused::Contradicts(format!(
            "{what} that it cosigned over {old} events: the log was put back or rewritten, or the witness is wrong. Nothing was changed; ask \
             who runs it for the checkpoint, keep it, and find out why"
        ))
    };
    let told = match answer {
        Answer::ProofRefused => return other_log("it says that this log does not continue the one"),
        Answer::Has(_) | Answer::Conflict if old == size && old > 0 => {
            return other_log("it says that this log has another root than the one");
        }
        Answer::Has(_) => "it says that it has the very size that it was told, and refuses it".to_owned(),
        Answer::Conflict => "it says that it cosigned another size than it was told, and does not say which".to_owned(),
        Answer::KeyUnknown => {
            "it does not know the key that signed the checkpoint: give it the key of `retentionctl audit keys`, after a change \
             of keys the new one"
                .to_owned()
        }
        Answer::LogUnknown => format!("it does not know the log {origin}, or there is no witness at its URL"),
        Answer::Malformed => "it calls the request malformed".to_owned(),
        Answer::Other(status) => format!("it answered with the status {status}"),
        Answer::Unreadable | Answer::Cosigned(_) => "what it answered are no lines of signatures".to_owned(),
    };
    Refused::Behind(told)
}

#[cfg(test)]
mod tests;
