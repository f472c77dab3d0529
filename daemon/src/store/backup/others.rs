//! What the logs beside the backup know of erasures after it: those of newer backups in the same directory, and that of
//! the store that was lost, where it was moved to.
//!
//! A log only grows, so the newest backup has every destruction that one between has; such a one is not read on its
//! own. Nor is a segment that both backups have: it tells nothing new. A log that went on from an earlier event than the
//! backup ends with, because a restore came between, gives numbers of entities out anew: of it only those count that
//! both logs had where they parted.
//!
//! A newer backup that cannot be read stops the restore, unless a person passes over it. The store that was lost is
//! often damaged: it is read as far as it can be, and it is told how far that was.
//!
//! Beside the state directory may also lie a copy with which somebody tries things, or a store that was lost before: what
//! was erased there lives here. So a log that nobody named counts only if the store was not at home elsewhere since
//! (`store/home`), and if it goes on from the newest backup that is known: as that of the store does. Where nobody knows where it
//! was at home, also only without a restore since then.
//!
//! Where events of a lost log cannot be read, it may have parted there. What comes behind that counts only in so far as it is
//! about records of both whatever happened in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use retention_core::event::{Envelope, EventType};
use retention_core::id::{Digest, EntityId, Position};

use super::ledger::Erasure;
use super::manifest::{Manifest, segment_name};
use super::restore::{EVENTS_TOGETHER, Journal, ROLE, Restore, failed};
use super::stamp::Stamp;
use super::{BackupError, DurableFileError};
use crate::store::durable_file::{self, FileAction};
use crate::store::home::Home;
use crate::store::journal::{JournalError, JournalReader};
use crate::store::vault::seal::IndexKey;
use crate::store::{Progress, ReadError};

/// A log beside the backup, as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The log of a newer backup was read.
    Newer {
        /// Its last event.
        last: Position,
    },
    /// The log of a newer backup could not be read, and was passed over.
    PassedOver {
        /// Its last event.
        last: Position,
        /// Why.
        why: String,
    },
    /// The log of a store that was lost was read.
    Lost {
        /// Where it lies.
        dir: PathBuf,
        /// The last event that could be read.
        up_to: Position,
        /// What could not, the first of it.
        damage: Option<String>,
    },
    /// The log beside the state directory, which nobody named, did not go on as that of the backups did: it counts for
    /// nothing.
    Apart {
        /// Where it lies.
        dir: PathBuf,
    },
    /// The log beside the state directory, which nobody named, is that of a store that was at home elsewhere: it counts for
    /// nothing.
    Elsewhere {
        /// Where it lies.
        dir: PathBuf,
    },
    /// Nothing of the log beside the state directory, which nobody named, could be compared with the backup: it counts for
    /// nothing.
    Unread {
        /// Where it lies.
        dir: PathBuf,
        /// What is wrong with it.
        damage: String,
    },
    /// Nothing was heard: this only ended a restore that was interrupted, and what it was to look at then counts.
    Before {
        /// It had a ledger of erasures.
        ledger_read: bool,
    },
    /// The manifest of a backup, of the one that is restored or of a newer one, does not say that the store wrote it.
    Unstamped {
        /// Its last event.
        last: Position,
    },
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer { last } => write!(f, "whom the newer backup up to event {last} calls erased stays erased"),
            Self::PassedOver { last, why } => write!(
                f,
                "the newer backup up to event {last} was passed over, and whom it alone calls erased is back: {why}"
            ),
            Self::Lost { dir, up_to, damage: None } => {
                write!(f, "whom the lost log in {} calls erased, up to event {up_to}, stays erased", dir.display())
            }
            Self::Lost { dir, up_to, damage: Some(damage) } => write!(
                f,
                "of the lost log in {}, up to event {up_to}, only a part could be read, and whom the rest calls erased may be back: {damage}",
                dir.display()
            ),
            Self::Apart { dir } => write!(
                f,
                "the log in {} went on apart from the backups, as that of a copy or of a store that was lost earlier does: it counts for nothing, and whom it alone calls erased is back. If it is the one that was lost, move this store away and restore again with --lost",
                dir.display()
            ),
            Self::Elsewhere { dir } => write!(
                f,
                "the store in {} was last used in another place, as a copy is with which somebody tries things: it counts for nothing, and whom its log alone calls erased is back. If it is the one that was lost, move this store away and restore again with --lost",
                dir.display()
            ),
            Self::Unread { dir, damage } => write!(
                f,
                "of the log in {} nothing could be compared with the backup, so it counts for nothing; if it is the one that was lost, whom it alone calls erased is back: {damage}",
                dir.display()
            ),
            Self::Before { ledger_read } => write!(
                f,
                "an earlier restore was ended, which had done all but moving the store into its place: it read {}, and nothing was looked at now. If that is not what you want, move this store away and restore again",
                if *ledger_read { "the ledger of erasures that it was shown" } else { "no ledger of erasures" }
            ),
            Self::Unstamped { last } => write!(
                f,
                "the manifest of the backup up to event {last} has no stamp of the store, and no older one has: it was made before there were stamps, or somebody who may write to both directories of the backups made or changed it. Look whether this store ever made one with a stamp, and show a checkpoint that others hold"
            ),
        }
    }
}

/// What these logs say.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// What newer backups call destroyed, of what the backup has and does not call destroyed itself.
    pub(super) newer: BTreeMap<EntityId, Erasure>,
    /// What lost stores call destroyed, in the same way.
    pub(super) lost: BTreeMap<EntityId, Erasure>,
    /// Each log, as it was heard.
    pub(super) heard: Vec<Heard>,
}

impl Others {
    /// Passes over a newer backup that cannot be read, if a person said so.
    fn pass_over(&mut self, restore: &Restore<'_>, last: Position, why: BackupError) -> Result<(), BackupError> {
        match (is_of_the_backup(&why), restore.without_newer) {
            // A full disk here, or being asked to stop, says nothing of the backup.
            (false, _) => Err(why),
            (true, false) => Err(BackupError::Newer { last, why: Box::new(why) }),
            (true, true) => {
                self.heard.push(Heard::PassedOver { last, why: why.to_string() });
                Ok(())
            }
        }
    }
}

fn is_of_the_backup(error: &BackupError) -> bool {
    match error {
        BackupError::Changed { .. }
        | BackupError::Forged { .. }
        | BackupError::Unstamped { .. }
        | BackupError::Encrypted { .. }
        | BackupError::Absent
        | BackupError::Read(ReadError::Journal(_)) => true,
        BackupError::File(DurableFileError::Io { action, .. }) => {
            matches!(action, FileAction::Open | FileAction::Read)
        }
        BackupError::File(DurableFileError::TooLong { .. }) => true,
        _ => false,
    }
}

impl Restore<'_> {
    /// Reads the logs beside the backup, which lies in `staging` by now. Progress is in events.
    pub(super) fn hear_others(
        &self,
        chosen: &Manifest,
        journal: &Journal,
        key: &IndexKey,
        staging: &Path,
        progress: Progress<'_>,
    ) -> Result<Others, BackupError> {
        let mut others = Others::default();
        let staged = JournalReader::at(&staging.join("journal"));
        let mut newer = Vec::new();
        for last in Manifest::list(self.places)?.into_iter().filter(|last| *last > chosen.last) {
            let stamped = Manifest::read(self.places, last)
                .and_then(|newer| of_the_same_store(&newer, chosen))
                .and_then(|()| Manifest::stamped(self.places, last, key));
            match stamped {
                Ok((manifest, stamp)) => {
                    if stamp == Stamp::Missing {
                        others.heard.push(Heard::Unstamped { last });
                    }
                    newer.push(manifest);
                }
                Err(error) => others.pass_over(self, last, error)?,
            }
        }
        let mut known = BTreeMap::from([(chosen.last, chosen.envelope)]);
        // The newest first.
        while let Some(manifest) = newer.pop() {
            let mut log = Log::beside(chosen, journal, &staged);
            log.wanted = newer.iter().map(|between| (between.last, between.envelope)).collect();
            match self.hear_newer(&manifest, &mut log, staging, progress) {
                Ok(()) => {
                    if log.common.is_none() {
                        let between = newer.iter().filter(|between| log.found.contains(&between.last));
                        known.extend(between.chain([&manifest]).map(|heard| (heard.last, heard.envelope)));
                    }
                    newer.retain(|between| !log.found.contains(&between.last));
                    others.heard.push(Heard::Newer { last: manifest.last });
                    others.newer.extend(log.destroyed);
                }
                Err(error) => others.pass_over(self, manifest.last, error)?,
            }
        }
        let beside = set_aside(&self.options.dir);
        let named = self.lost.iter().map(|dir| (dir, Found::Named));
        let found = beside.iter().filter(|dir| !self.lost.contains(dir));
        for (dir, found) in named.chain(found.map(|dir| (dir, Found::Beside(Home::of(dir, &self.options.dir))))) {
            let mut log = Log::beside(chosen, journal, &staged);
            (log.wanted, log.found_as) = (known.clone(), found);
            let damage = self.hear_lost(dir, &mut log, progress)?.map(|damage| damage.to_string());
            let dir = dir.clone();
            let heard = match (found, damage) {
                // Numbers of entities mean nothing in the log of another store.
                (Found::Named, _) if !log.agrees => return Err(BackupError::LostAbsent),
                // Something else may have such a name.
                (_, None) if !log.agrees => continue,
                (_, Some(damage)) if !log.agrees => Heard::Unread { dir, damage },
                (Found::Beside(Home::Elsewhere), _) => Heard::Elsewhere { dir },
                (Found::Beside(_), _) if log.is_apart() || log.contradicts(&others.newer) => Heard::Apart { dir },
                (Found::Named | Found::Beside(Home::Here | Home::Unknown), damage) => {
                    let up_to = log.newest.map_or(Position::NONE, |newest| newest.position);
                    let damage = damage.map(|damage| if log.passed_over { damage + NAME_IT } else { damage });
                    others.lost.extend(log.destroyed);
                    Heard::Lost { dir, up_to, damage }
                }
            };
            others.heard.push(heard);
        }
        Ok(others)
    }

    /// Reads the segments of a newer backup that are not those of the one that is restored.
    fn hear_newer(
        &self,
        manifest: &Manifest,
        log: &mut Log<'_>,
        staging: &Path,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let dir = staging.join("newer");
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(FileAction::Remove)(error).into());
            }
            _ => {}
        }
        durable_file::create_private_dir(&dir, ROLE)?;
        for ((number, part), at) in (1..).zip(&manifest.journal).zip(0..) {
            let is_known = log
                .chosen
                .journal
                .get(at)
                .is_some_and(|chosen| (chosen.bytes, chosen.sha256) == (part.bytes, part.sha256));
            if is_known {
                continue;
            }
            let (from, to) = (self.places.journal().join(part.file_name()), dir.join(segment_name(number)));
            self.bring_back(manifest, part, &from, &to, &mut |_| {})?;
            let damage = self.hear_segment(&JournalReader::at(&dir), number, manifest.last, log, progress)?;
            if let Some(damage) = damage {
                return Err(ReadError::from(damage).into());
            }
            std::fs::remove_file(&to).map_err(failed(FileAction::Remove))?;
        }
        std::fs::remove_dir(&dir).map_err(failed(FileAction::Remove))?;
        match log.newest.is_some_and(|newest| Digest::of(&newest.to_bytes()) == manifest.envelope) {
            true => Ok(()),
            false => {
                let what = "it does not end with the event that the manifest names".to_owned();
                Err(BackupError::Changed { last: manifest.last, file: "journal".to_owned(), what })
            }
        }
    }

    /// Reads the log of a store that was lost, as far as it can be. Returns the first damage. It is that of another store
    /// unless it agrees.
    fn hear_lost(
        &self,
        dir: &Path,
        log: &mut Log<'_>,
        progress: Progress<'_>,
    ) -> Result<Option<JournalError>, BackupError> {
        let reader = JournalReader::at(&dir.join("journal"));
        let segments = match reader.segments_present() {
            Ok(segments) => segments,
            Err(damage) => return Ok(Some(damage)),
        };
        let mut damage = None;
        let mut expected = 1;
        for number in segments {
            log.has_gap |= number != expected;
            expected = number.saturating_add(1);
            let found = self.hear_segment(&reader, number, Position(u64::MAX), log, progress)?;
            log.has_gap |= found.is_some();
            damage = damage.or(found);
        }
        if let Err(missing) = reader.segments() {
            damage = damage.or(Some(missing));
        }
        Ok(damage)
    }

    /// Reads a segment of another log. Returns what is wrong with it: then it was read up to there.
    fn hear_segment(
        &self,
        reader: &JournalReader,
        number: u32,
        last: Position,
        log: &mut Log<'_>,
        progress: Progress<'_>,
    ) -> Result<Option<JournalError>, BackupError> {
        let events = match reader.events_of_segment(number, last) {
            Ok(events) => events,
            Err(damage) => return Ok(Some(damage)),
        };
        let (chosen, staged) = (log.chosen, log.staged);
        // Logs that are the same have the same events in a segment.
        let mut same = match (number as usize) <= chosen.journal.len() {
            true => Some(staged.events_of_segment(number, chosen.last).map_err(ReadError::from)?),
            false => None,
        };
        for (entry, count) in events.zip(1..) {
            self.options.halt.check().map_err(ReadError::from)?;
            let envelope = match entry {
                Ok((_, stored)) => stored.envelope,
                Err(damage) => return Ok(Some(damage)),
            };
            if envelope.position <= chosen.last && log.common.is_none() {
                let ours = same.as_mut().and_then(Iterator::next).transpose().map_err(ReadError::from)?;
                match ours.is_some_and(|(_, ours)| ours.envelope == envelope) {
                    true => log.agree(envelope.position),
                    false => log.part(envelope.position)?,
                }
            }
            log.note(envelope)?;
            if count % EVENTS_TOGETHER == 0 {
                // How far a lost log goes is not known before.
                progress(envelope.position.0, chosen.last.max(envelope.position).0);
            }
        }
        Ok(None)
    }
}

/// What is said besides of a lost log of which the part behind the damage was passed over.
const NAME_IT: &str = ". What could be read behind that may be that of another log, and counts for more when it is named: if it is the one that was lost, move this store away and restore again with --lost";

/// How a log came to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It is that of a newer backup, or a person named it.
    Named,
    /// It lies beside the state directory, and this is where its store was at home.
    Beside(Home),
}

/// Another log, read beside that of the backup.
struct Log<'a> {
    chosen: &'a Manifest,
    journal: &'a Journal,
    staged: &'a JournalReader,
    /// When the two have parted: from this number on, entities are others.
    common: Option<u32>,
    /// An event was read that both have.
    agrees: bool,
    /// The last event that was read and that both have.
    same: Position,
    /// Events since then could not be read.
    has_gap: bool,
    /// How many numbers of entities both have for certain, when they may have parted in what could not be read.
    certain: Option<u32>,
    /// Events counted for nothing because of that.
    passed_over: bool,
    found_as: Found,
    /// It parted from a backup that is known.
    has_parted: bool,
    /// A restore came after the last backup that is known.
    is_restored: bool,
    /// What it calls destroyed and the backup does not, of what both have.
    destroyed: BTreeMap<EntityId, Erasure>,
    /// The backups that may be, or should be, a part of it, by their last event.
    wanted: BTreeMap<Position, Digest>,
    /// Those that are.
    found: BTreeSet<Position>,
    newest: Option<Envelope>,
}

impl<'a> Log<'a> {
    fn beside(chosen: &'a Manifest, journal: &'a Journal, staged: &'a JournalReader) -> Self {
        Self {
            chosen,
            journal,
            staged,
            common: None,
            agrees: false,
            same: Position::NONE,
            has_gap: false,
            certain: None,
            passed_over: false,
            found_as: Found::Named,
            has_parted: false,
            is_restored: false,
            destroyed: BTreeMap::new(),
            wanted: BTreeMap::new(),
            found: BTreeSet::new(),
            newest: None,
        }
    }

    /// Notes that both have an event, and so all before it: also what of that could not be read.
    fn agree(&mut self, at: Position) {
        (self.agrees, self.same, self.has_gap, self.certain) = (true, at, false, None);
    }

    /// Notes that the logs are not the same from an event on, and which entities they have in common.
    fn part(&mut self, at: Position) -> Result<(), BackupError> {
        // Where they parted may be in what could not be read.
        let before = if self.has_gap { self.same } else { Position(at.0.saturating_sub(1)) };
        (self.common, self.has_parted) = (Some(self.used_up_to(before)?), true);
        Ok(())
    }

    /// Returns one more than the highest number of an entity that the backup has up to an event.
    fn used_up_to(&self, last: Position) -> Result<u32, BackupError> {
        let mut used = 1;
        for entry in self.staged.events_after(Position::NONE, last).map_err(ReadError::from)? {
            let (_, stored) = entry.map_err(ReadError::from)?;
            if let Some(entity) = stored.envelope.entity {
                used = used.max(entity.0.saturating_add(1));
            }
        }
        Ok(used)
    }

    /// Returns below which number entities are those of the backup; `None` when the event counts for nothing, since nobody
    /// knows what happened before it.
    fn common(&mut self) -> Result<Option<u32>, BackupError> {
        // Whatever could not be read behind the end of the backup, both have all of it.
        let may_have_parted = self.has_gap && self.same < self.chosen.last;
        match self.found_as {
            Found::Beside(Home::Here) if may_have_parted => return Ok(None),
            Found::Beside(Home::Elsewhere | Home::Unknown) if self.has_gap => return Ok(None),
            _ => {}
        }
        if let Some(common) = self.common {
            return Ok(Some(common));
        }
        if !may_have_parted {
            return Ok(Some(self.journal.used));
        }
        if self.certain.is_none() {
            self.certain = Some(self.used_up_to(self.same)?);
        }
        Ok(self.certain)
    }

    fn note(&mut self, envelope: Envelope) -> Result<(), BackupError> {
        match self.wanted.get(&envelope.position).map(|wanted| *wanted == Digest::of(&envelope.to_bytes())) {
            Some(true) => {
                self.found.insert(envelope.position);
                // Nothing but its time and its place tells some events of two stores apart.
                if self.common.is_none() {
                    self.agree(envelope.position);
                }
            }
            Some(false) => self.has_parted = true,
            None => {}
        }
        self.is_restored |=
            envelope.event_type == EventType::StoreRestored as u16 && envelope.position > self.newest_wanted();
        let Some(common) = self.common()? else {
            self.passed_over = true;
            return Ok(());
        };
        if EventType::is_destruction(envelope.event_type)
            && let Some(entity) = envelope.entity
            && (1..common).contains(&entity.0)
            && !self.journal.destroyed.contains(entity.0)
        {
            let erasure = Erasure { position: envelope.position, at: envelope.recorded_at };
            self.destroyed.entry(entity).or_insert(erasure);
        }
        self.newest = Some(envelope);
        Ok(())
    }

    /// Says whether it did not go on from the newest backup that is known as the log of the store does.
    fn is_apart(&self) -> bool {
        let was_at_home = self.found_as == Found::Beside(Home::Here);
        self.has_parted || (self.is_restored && !was_at_home)
    }

    fn newest_wanted(&self) -> Position {
        self.wanted.last_key_value().map_or(Position::NONE, |(last, _)| *last)
    }

    /// Says whether it calls erased whom the newer backups do not, where they speak.
    fn contradicts(&self, newer: &BTreeMap<EntityId, Erasure>) -> bool {
        let up_to = self.newest_wanted();
        let mut spoken_of = self.destroyed.iter().filter(|(_, erasure)| erasure.position <= up_to);
        spoken_of.any(|(entity, erasure)| newer.get(entity) != Some(erasure))
    }
}

/// Returns the directories with a journal that lie beside the state directory under its name and something more: whoever
/// moves a lost store away names it so.
fn set_aside(state: &Path) -> Vec<PathBuf> {
    let name_of = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let (Some(parent), Some(name)) = (state.parent(), name_of(state)) else { return Vec::new() };
    // Where they cannot be listed, they can be named.
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let other = name_of(path).unwrap_or_default();
        let is_named_so = other.strip_prefix(&name).is_some_and(|more| more.starts_with(['.', '-', '_']));
        is_named_so && path.join("journal").is_dir()
    });
    found.sort_unstable();
    found
}

fn of_the_same_store(newer: &Manifest, chosen: &Manifest) -> Result<(), BackupError> {
    if newer.store == chosen.store {
        return Ok(());
    }
    let what = "it is of another store".to_owned();
    Err(BackupError::Changed { last: newer.last, file: "manifest".to_owned(), what })
}
