//! What is under way to the log: a few batches at a time, and the handles that no view knows yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crossbeam_channel::Receiver;
use retention_core::id::Handle;
use retention_core::view::Condition;

use super::IntakeError;
use crate::store::{AppendError, Appended, Prepared, Store};

/// Batches that the writer may have before the next one waits. They are small, so that what one thread leaves is still
/// in the processor's cache when the next one takes it up; those that wait together share one flush.
const IN_FLIGHT_MAX: usize = 8;

/// Handles are keyed digests, so their own bytes are the best hash there is.
#[derive(Default)]
pub(super) struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type HandleSet = HashSet<Handle, BuildHasherDefault<HandleHasher>>;

/// The ids of one batch.
#[derive(Default)]
pub(super) struct Handles {
    /// The handle of each row, with the number of the last row of the batch that has it.
    pub(super) own: HashMap<Handle, usize, BuildHasherDefault<HandleHasher>>,
    /// Further handles of rows with several ids.
    pub(super) others: HandleSet,
}

struct Sent {
    answer: Receiver<Result<Appended, AppendError>>,
    handles: Vec<Handle>,
}

/// The batches that the writer has.
#[derive(Default)]
pub(super) struct InFlight {
    sent: VecDeque<Sent>,
    /// The handles of all of them. No two batches have the same one: who finds its own here waits.
    handles: HandleSet,
}

impl InFlight {
    /// Hands a batch over; waits while too many are under way.
    pub(super) fn send(
        &mut self,
        store: &Store,
        events: Vec<Prepared>,
        condition: Condition,
        handles: Handles,
    ) -> Result<(), IntakeError> {
        if events.is_empty() {
            return Ok(());
        }
        while self.sent.len() >= IN_FLIGHT_MAX {
            self.wait_for_one()?;
        }
        let answer = store.submit(events, condition)?;
        let handles: Vec<Handle> = handles.own.into_keys().chain(handles.others).collect();
        self.handles.extend(&handles);
        self.sent.push_back(Sent { answer, handles });
        Ok(())
    }

    /// Says whether something with this handle is under way, so that the views do not know it yet.
    pub(super) fn contains(&self, handle: &Handle) -> bool {
        !self.handles.is_empty() && self.handles.contains(handle)
    }

    /// Waits until everything is durable and folded.
    pub(super) fn drain(&mut self) -> Result<(), IntakeError> {
        while !self.sent.is_empty() {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<(), IntakeError> {
        if let Some(sent) = self.sent.pop_front() {
            sent.answer.recv().map_err(|_| AppendError::Closed)??;
            for handle in &sent.handles {
                self.handles.remove(handle);
            }
        }
        Ok(())
    }
}
