//! Putting things into a package: files that are at hand, and texts as they come from their servers.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use jiff::civil;
use retention_core::control::ErrorBody;
use retention_core::id::{Digest, EntityId};
use retention_core::package::{HEAD_BYTES_MAX, PackagedText, TextEvent, subject_of, text_file};
use sha2::{Digest as _, Sha256};

use super::outlet::{self, Outlet, Tail};
use super::zip_stream::ZipStream;
use super::{ByMailbox, Fetch};
use crate::halt::Halt;

/// A package that is being made.
pub(super) struct Packing<'a> {
    zip: ZipStream<Outlet<'a>>,
    files: Vec<(String, u64, Digest)>,
    halt: &'a Halt,
}

impl<'a> Packing<'a> {
    pub(super) fn new(outlet: Outlet<'a>, made: civil::DateTime, halt: &'a Halt) -> Self {
        Self { zip: ZipStream::new(outlet, made), files: Vec::new(), halt }
    }

    /// What is in it, in the order in which it was put there: the name, the length, the SHA-256.
    pub(super) fn files(&self) -> &[(String, u64, Digest)] {
        &self.files
    }

    /// Puts a file into it.
    pub(super) fn file(&mut self, name: String, bytes: &[u8]) -> Result<(), ErrorBody> {
        self.files.push((name.clone(), bytes.len() as u64, Digest::of(bytes)));
        let written = self.zip.begin(name).and_then(|()| self.zip.add(bytes)).and_then(|()| self.zip.end());
        written.map_err(|error| outlet::said(&error))
    }

    /// Fetches texts and puts those into it that are whole. Returns what became of each.
    pub(super) fn texts(
        &mut self,
        messages: &ByMailbox,
        fetch: Fetch<'_>,
    ) -> Result<BTreeMap<EntityId, PackagedText>, ErrorBody> {
        let mut told = BTreeMap::new();
        for (mailbox, (entities, keys)) in messages {
            let mut coming = Coming { packing: self, entities, told: &mut told, open: None };
            let mut failed = None;
            let _flow = fetch(*mailbox, keys, &mut |event| match coming.take(event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            });
            if let Some(error) = failed {
                return Err(outlet::said(&error));
            }
        }
        Ok(told)
    }

    /// Ends it, but for what is held back.
    pub(super) fn finish(self) -> Result<Tail<'a>, ErrorBody> {
        self.zip.finish().and_then(Outlet::finish).map_err(|error| outlet::said(&error))
    }
}

/// Texts on their way from one mailbox.
struct Coming<'a, 'b> {
    packing: &'a mut Packing<'b>,
    entities: &'a [EntityId],
    told: &'a mut BTreeMap<EntityId, PackagedText>,
    open: Option<Open>,
}

/// The text that is coming.
struct Open {
    entity: EntityId,
    bytes: u64,
    hash: Sha256,
    head: Vec<u8>,
}

impl Coming<'_, '_> {
    fn take(&mut self, event: TextEvent<'_>) -> io::Result<()> {
        self.packing.halt.check().map_err(|_| io::Error::from(io::ErrorKind::Interrupted))?;
        match event {
            TextEvent::Begin(number) => {
                let Some(entity) = self.entities.get(number).copied() else { return Ok(()) };
                self.open = Some(Open { entity, bytes: 0, hash: Sha256::new(), head: Vec::new() });
                self.packing.zip.begin(text_file(entity))
            }
            TextEvent::Part(bytes) => {
                let Some(open) = &mut self.open else { return Ok(()) };
                open.bytes = open.bytes.saturating_add(bytes.len() as u64);
                open.hash.update(bytes);
                let room = HEAD_BYTES_MAX.saturating_sub(open.head.len()).min(bytes.len());
                open.head.extend_from_slice(bytes.get(..room).unwrap_or_default());
                self.packing.zip.add(bytes)
            }
            TextEvent::End => {
                let Some(open) = self.open.take() else { return Ok(()) };
                self.packing.zip.end()?;
                let sha256 = Digest(open.hash.finalize().into());
                self.packing.files.push((text_file(open.entity), open.bytes, sha256));
                let subject = subject_of(&open.head);
                self.told.insert(open.entity, PackagedText::Whole { bytes: open.bytes, sha256, subject });
                Ok(())
            }
            TextEvent::Missing(number, why) => {
                let Some(entity) = self.entities.get(number).copied() else { return Ok(()) };
                self.told.insert(entity, PackagedText::Missing(why));
                match self.open.take_if(|open| open.entity == entity) {
                    Some(_) => self.packing.zip.leave_out(),
                    None => Ok(()),
                }
            }
        }
    }
}
