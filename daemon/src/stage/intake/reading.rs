//! The reader on its own thread: it parses the next batch while the one before is compared and sealed.

use std::ops::ControlFlow;
use std::path::Path;

use retention_core::record::SourceLink;

use super::IntakeError;
use crate::connector::change::{Change, ReadSummary};
use crate::connector::drop::SourceSpec;
use crate::connector::drop::report::ReadReport;
use crate::connector::rejection::FileError;
use crate::halt::Halt;

/// How many changes travel together: enough that a lock and a wake-up per batch cost next to nothing per row, few
/// enough that the rows of a batch stay in the processor's cache from one thread to the next.
pub(super) const CHANGES_PER_BATCH: usize = 512;

/// The bytes of rows at which they travel on, however few they are: a row is rarely more than 1 KiB, and may be ten thousand
/// times that. A dozen batches are under way at once, so without it memory would grow with what a file holds.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// Batches that wait for the comparison.
const BATCHES_AHEAD: usize = 4;

/// How a read ended, with what it saw.
pub(super) struct Read {
    pub(super) report: ReadReport,
    pub(super) end: Result<ReadSummary, FileError>,
}

impl Read {
    /// A delivery that is not read at all.
    pub(super) fn refused(error: FileError) -> Self {
        let mut report = ReadReport::default();
        let end = Err(error);
        report.finish(&end);
        Self { report, end }
    }
}

/// Reads a claimed file or directory once and hands what matters to the log on in batches, in order.
///
/// # Errors
/// What `each` says, or that the daemon is ending; the read then stops. What is wrong with the file is no error here:
/// see [`Read::end`].
pub(super) fn read(
    spec: &SourceSpec,
    path: &Path,
    halt: &Halt,
    each: &mut dyn FnMut(Vec<Change>) -> Result<(), IntakeError>,
) -> Result<Read, IntakeError> {
    std::thread::scope(|scope| {
        let (batches, waiting) = crossbeam_channel::bounded(BATCHES_AHEAD);
        let reader = std::thread::Builder::new()
            .name("intake-read".to_owned())
            .spawn_scoped(scope, move || read_into(spec, path, halt, &batches))
            .map_err(|error| IntakeError::Thread(error.kind()))?;
        // Leaving the loop drops the receiver, which stops the reader at its next batch.
        let taken = waiting.into_iter().try_for_each(|batch| {
            halt.check()?;
            each(batch)
        });
        let read = reader.join().map_err(|_| IntakeError::ReaderFailed)?;
        taken?;
        // What was read until then is no whole file, and must never look like one.
        halt.check()?;
        Ok(read)
    })
}

fn read_into(spec: &SourceSpec, path: &Path, halt: &Halt, batches: &crossbeam_channel::Sender<Vec<Change>>) -> Read {
    let mut report = ReadReport::default();
    let mut batch = Vec::with_capacity(CHANGES_PER_BATCH);
    let mut bytes = 0;
    let end = spec.feed(path).and_then(|mut feed| {
        feed.read(&mut |change| {
            if halt.is_asked() {
                return ControlFlow::Break(());
            }
            report.observe(&change);
            match change {
                Change::Rejected(_) | Change::Defect(..) => return ControlFlow::Continue(()),
                Change::Layout(_) | Change::Row(_) | Change::Departed(_) | Change::SnapshotOf { .. } => {
                    bytes += bytes_of(&change);
                    batch.push(change);
                }
            }
            if batch.len() < CHANGES_PER_BATCH && bytes < BATCH_BYTES_MAX {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            let full = std::mem::replace(&mut batch, Vec::with_capacity(CHANGES_PER_BATCH));
            if batches.send(full).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    });
    if !batch.is_empty() {
        // Nobody listens any more only when an error has already ended the intake.
        drop(batches.send(batch));
    }
    report.finish(&end);
    Read { report, end }
}

/// Returns about how many bytes a row takes; what else travels is small.
fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Row(row) => row.cells.text_bytes() + row.links.len() * size_of::<SourceLink>(),
        Change::Layout(_)
        | Change::Departed(_)
        | Change::SnapshotOf { .. }
        | Change::Rejected(_)
        | Change::Defect(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::drop::claimed::Limits;
    use crate::connector::drop::mapping::Mapping;

    #[test]
    fn long_rows_travel_few_at_a_time_and_all_arrive() {
        const ROWS: usize = 13;
        let mapping = "schema = 1\nkind = \"contact\"\nfiles = [\"*.csv\"]\ncontent = \"delta\"\nid = [\"Id\"]\n";
        let mappings = vec![Mapping::parse(mapping).unwrap()];
        let spec = SourceSpec { name: "crm".into(), ocm: None, mappings, limits: Limits::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.csv");
        let rows: String = (0..ROWS).map(|number| format!("{number},{}\n", "x".repeat(BATCH_BYTES_MAX / 4))).collect();
        std::fs::write(&path, format!("Id,Notes\n{rows}")).unwrap();
        let mut batches = Vec::new();
        let read = read(&spec, &path, &Halt::default(), &mut |batch| {
            batches.push(batch.iter().filter(|change| matches!(change, Change::Row(_))).count());
            Ok(())
        });
        assert_eq!(read.unwrap().end.unwrap().rows, ROWS as u64);
        assert_eq!(batches, [4, 4, 4, 1]);
    }
}
