//! One delivery from its claim to its end: what the log says of it, and the report beside it.
//!
//! The report is durable before the event that ends the intake, and the event before the delivery moves. So a
//! restart finds what is left to do by looking at `processing/` and at the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::change::{IntakeCompleted, IntakeEnd, IntakeStarted};
use retention_core::id::{Digest, EntityId, Position};
use retention_core::view::{Condition, Conflict};

use super::IntakeError;
use super::order::{self, Exports};
use super::outcome::{Counts, Report, Taken, defects};
use super::place;
use super::reading::{self, Read};
use super::rows::Taking;
use crate::clock::Clock;
use crate::config::{Delivers, Source};
use crate::connector::change::{Change, Departure, SourceRow};
use crate::connector::drop::SourceSpec;
use crate::connector::drop::claimed::content_digest;
use crate::connector::drop::ocm::{DirectoryName, Older};
use crate::connector::drop::report::ReadReport;
use crate::connector::rejection::FileError;
use crate::halt::Halted;
use crate::store::{AppendError, Store};

/// How often one delivery is begun again because entities were purged under it; then it waits for the next scan.
const ATTEMPTS_MAX: u32 = 3;

/// Hears how many rows were compared so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// What one delivery is taken in with.
pub(super) struct Task<'a> {
    pub(super) store: &'a Store,
    pub(super) clock: &'a dyn Clock,
    pub(super) source: &'a Source,
    pub(super) spec: &'a SourceSpec,
    /// The file or directory.
    pub(super) path: &'a Path,
    /// Where the report goes.
    pub(super) folder: &'a Path,
    /// The name and what was taken before, if it is an export.
    pub(super) export: Option<(&'a Exports, &'a DirectoryName)>,
    /// What was taken in up to here may have been read by another mapping.
    pub(super) read_since: Position,
}

/// Where an intake stands.
struct Begun {
    intake: EntityId,
    started: Position,
    is_resumed: bool,
}

/// What the log knows of the content already.
enum Earlier {
    /// Nothing.
    Nothing,
    /// This very delivery was taken in; only its folder has not moved.
    Ended(Taken),
    /// Another delivery had the same content.
    Duplicate(EntityId),
    /// An attempt at it was interrupted.
    Open(Begun),
}

impl Task<'_> {
    /// Takes the delivery in, whole. After an error it can be called again, also by another process.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<Taken, IntakeError> {
        let content = match content_digest(self.path, &self.spec.limits, self.store.halt()) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(Halted.into()),
            Err(error) => return self.refuse(&error),
        };
        let untimely = self.untimely();
        let begun = match self.earlier(content)? {
            Earlier::Ended(taken) => return Ok(taken),
            Earlier::Duplicate(of)
                if untimely.is_some()
                    || !(self.was_read_otherwise(of)
                        || order::is_superseded(self.store, &self.source.name, self.export, of)) =>
            {
                return self.duplicate(content, of);
            }
            Earlier::Open(begun) => begun,
            // The same as once before, and not as it was last or not as it would be read now: then it is news.
            Earlier::Duplicate(_) | Earlier::Nothing => self.begin(content)?,
        };
        if let Some(error) = untimely {
            let taking = Taking::new(self.store, begun.intake, begun.started, begun.is_resumed);
            return self.complete(content, taking, &Read::refused(error));
        }
        let mut attempt = 1;
        loop {
            match self.attempt(content, &begun, attempt > 1, progress) {
                Err(IntakeError::Append(AppendError::Conflict(Conflict::Entities(_)))) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    fn earlier(&self, content: Digest) -> Result<Earlier, IntakeError> {
        let report = place::report_digest(self.folder)?;
        let name = self.source.name.as_str();
        Ok(self.store.view(|views| {
            let mut open = None;
            for (intake, known) in views.small.intakes.iter().rev() {
                if known.content != content || known.source != name {
                    continue;
                }
                match &known.completed {
                    Some((_, body)) if Some(body.report) == report => return Earlier::Ended(taken_of(intake, body)),
                    Some(_) => {}
                    None => {
                        let started = views.entities.last_event(intake);
                        open = open.or(Some(Begun { intake, started, is_resumed: true }));
                    }
                }
            }
            match (views.small.intakes.completed(name, content), open) {
                (Some(of), _) => Earlier::Duplicate(of),
                (None, Some(begun)) => Earlier::Open(begun),
                (None, None) => Earlier::Nothing,
            }
        }))
    }

    /// Says whether an intake ended before the mapping became what it is.
    fn was_read_otherwise(&self, intake: EntityId) -> bool {
        self.store.view(|views| views.entities.last_event(intake)) <= self.read_since
    }

    /// Returns why the time in the name of an export keeps it from being taken: it cannot be, or is too late and not
    /// meant to be.
    fn untimely(&self) -> Option<FileError> {
        let (exports, name) = self.export?;
        if order::is_of_the_future(name, self.clock.now()) {
            return Some(FileError::FutureExport { said: name.exported_at_local });
        }
        exports
            .newer_than(name)
            .filter(|_| name.older == Older::Refused)
            .map(|(newest, intake)| FileError::OlderExport { intake, newest })
    }

    fn begin(&self, content: Digest) -> Result<Begun, IntakeError> {
        let (intake, key) = self.store.issue(1)?.pop().ok_or(IntakeError::ReaderFailed)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let event = Event::IntakeStarted(IntakeStarted { source: self.source.name.clone(), name, content });
        let taking = Taking::new(self.store, intake, Position::NONE, false);
        let prepared = self.store.prepare(taking.draft(intake, None, event), Some(&key))?;
        let started = self.store.append(vec![prepared], Condition::None)?.first;
        Ok(Begun { intake, started, is_resumed: false })
    }

    fn attempt(
        &self,
        content: Digest,
        begun: &Begun,
        again: bool,
        progress: Progress<'_>,
    ) -> Result<Taken, IntakeError> {
        let is_resumed = begun.is_resumed || again;
        let mut taking = Taking::new(self.store, begun.intake, begun.started, is_resumed);
        taking.activities = Arc::clone(&self.source.activities);
        taking.searches_mailboxes = self.spec.ocm.is_none();
        let mut read = reading::read(self.spec, self.path, self.store.halt(), &mut |batch| {
            self.take(&mut taking, batch)?;
            progress(taking.counts.rows);
            Ok(())
        })?;
        taking.in_flight.drain()?;
        if read.end.is_ok() && taking.has_links {
            self.link(&mut taking, &mut read)?;
        }
        let has_new = taking.counts.added > 0 || is_resumed;
        let has_dangling = has_new && self.has_dangling();
        // Whoever got another owner may have come with the file of that one, and be gone only now.
        let has_moved = taking.has_returned || taking.counts.absent > 0;
        if read.end.is_ok() && (has_new || has_moved) {
            taking.link_others(has_dangling)?;
        }
        taking.in_flight.drain()?;
        self.complete(content, taking, &read)
    }

    fn take(&self, taking: &mut Taking<'_>, batch: Vec<Change>) -> Result<(), IntakeError> {
        let mut rows: Vec<SourceRow> = Vec::with_capacity(batch.len());
        let mut departures: Vec<Departure> = Vec::new();
        for change in batch {
            // What was gathered goes first: the order of the file is the order of the log.
            if !rows.is_empty() && !matches!(change, Change::Row(_)) {
                taking.take_rows(std::mem::take(&mut rows))?;
            }
            if !departures.is_empty() && !matches!(change, Change::Departed(_)) {
                taking.take_departures(&std::mem::take(&mut departures))?;
            }
            match change {
                Change::Layout(layout) => taking.announce(layout)?,
                Change::Row(row) => rows.push(row),
                Change::Departed(departure) => departures.push(departure),
                Change::SnapshotOf { mailbox, kind } => {
                    if self.delivers_everything() {
                        taking.take_snapshot(mailbox.as_ref(), kind)?;
                    }
                }
                Change::Rejected(_) | Change::Defect(..) => {}
            }
        }
        if !rows.is_empty() {
            taking.take_rows(rows)?;
        }
        if departures.is_empty() { Ok(()) } else { taking.take_departures(&departures) }
    }

    /// A mapping says itself what it holds, and the configuration can say that it is less.
    fn delivers_everything(&self) -> bool {
        self.source.delivers == Delivers::Snapshot
    }

    fn link(&self, taking: &mut Taking<'_>, first: &mut Read) -> Result<(), IntakeError> {
        taking.layouts.clear();
        let second = reading::read(self.spec, self.path, self.store.halt(), &mut |batch| {
            let mut rows = Vec::with_capacity(batch.len());
            for change in batch {
                match change {
                    Change::Layout(layout) => {
                        taking.link_rows(&std::mem::take(&mut rows))?;
                        taking.announce(layout)?;
                    }
                    Change::Row(row) => rows.push(row),
                    Change::Departed(_) | Change::SnapshotOf { .. } | Change::Rejected(_) | Change::Defect(..) => {}
                }
            }
            taking.link_rows(&rows)
        })?;
        if let Err(error) = second.end {
            first.end = Err(error);
            first.report.finish(&first.end);
        }
        Ok(())
    }

    /// Says whether links of any intake led to nothing: a mapping may name another source than the one that lists it, so the
    /// calls with a customer may come from one drop folder and the customer from another.
    fn has_dangling(&self) -> bool {
        self.store.view(|views| {
            let mut all = views.small.intakes.iter();
            all.any(|(_, known)| known.completed.as_ref().is_some_and(|(_, body)| body.dangling > 0))
        })
    }

    fn complete(&self, content: Digest, taking: Taking<'_>, read: &Read) -> Result<Taken, IntakeError> {
        let end = match &read.end {
            Err(_) => IntakeEnd::Rejected,
            Ok(_) if read.report.rejected == 0 => IntakeEnd::Done,
            // Nothing of it could be used: in `done/` nobody would look for it, and once mended it must count again. A file
            // of an export that only says that there is nothing any more was used.
            Ok(_) if read.report.rows == 0 && read.report.departed == 0 && taking.counts.absent == 0 => {
                IntakeEnd::Rejected
            }
            Ok(_) => IntakeEnd::DoneWithRejects,
        };
        let counts = Counts { rejected: read.report.rejected, ..taking.counts };
        let defects = defects(&read.report, &taking.oddities);
        let report = place::write_report(
            self.folder,
            &Report {
                schema: 1,
                source: &self.source.name,
                intake: Some(taking.intake),
                content: Some(content),
                end,
                duplicate_of: None,
                finished_at: self.clock.now(),
                counts,
                oddities: taking.oddities.clone(),
                first_odd: taking.first_odd.clone(),
                read: &read.report,
            },
        )?;
        let body = IntakeCompleted {
            source: self.source.name.clone(),
            content,
            end,
            rows: counts.rows,
            added: counts.added,
            changed: counts.changed,
            unchanged: counts.unchanged,
            rejected: counts.rejected,
            absent: counts.absent,
            dangling: counts.dangling,
            defects: defects.clone(),
            report,
        };
        let draft = taking.draft(taking.intake, None, Event::IntakeCompleted(body));
        self.store.append_drafts(vec![draft], Condition::None)?;
        Ok(Taken { intake: Some(taking.intake), end, counts, defects })
    }

    /// Nothing is appended: the log already says what this content is.
    fn duplicate(&self, content: Digest, of: EntityId) -> Result<Taken, IntakeError> {
        self.tell(Some(content), IntakeEnd::Duplicate, Some(of), &ReadReport::default())
    }

    /// What cannot even be hashed has no name in the log.
    fn refuse(&self, error: &FileError) -> Result<Taken, IntakeError> {
        let mut read = ReadReport::default();
        read.finish(&Err(error.clone()));
        self.tell(None, IntakeEnd::Rejected, None, &read)
    }

    fn tell(
        &self,
        content: Option<Digest>,
        end: IntakeEnd,
        duplicate_of: Option<EntityId>,
        read: &ReadReport,
    ) -> Result<Taken, IntakeError> {
        let counts = Counts::default();
        let report = Report {
            schema: 1,
            source: &self.source.name,
            intake: None,
            content,
            end,
            duplicate_of,
            finished_at: self.clock.now(),
            counts,
            oddities: BTreeMap::new(),
            first_odd: BTreeMap::new(),
            read,
        };
        place::write_report(self.folder, &report)?;
        Ok(Taken { intake: None, end, counts, defects: Vec::new() })
    }
}

fn taken_of(intake: EntityId, body: &IntakeCompleted) -> Taken {
    let counts = Counts {
        rows: body.rows,
        added: body.added,
        changed: body.changed,
        unchanged: body.unchanged,
        rejected: body.rejected,
        absent: body.absent,
        linked: 0,
        dangling: body.dangling,
    };
    Taken { intake: Some(intake), end: body.end, counts, defects: body.defects.clone() }
}
