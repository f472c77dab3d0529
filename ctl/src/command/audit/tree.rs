//! The log as files that others check, and the check of such files: neither needs to trust the daemon.

use std::fs;
use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use retention_core::control::{
    AuditQuery, CheckpointQuery, CheckpointRow, Cursor, EnvelopeRow, ErrorCode, ExitCode, Line, ListQuery, Operation,
    Order, Progress, cloud_event,
};
use retention_core::event::codec::{Bodies as _, schema_of};
use retention_core::event::operation::SigningKeyAdopted;
use retention_core::event::{Envelope, Event, EventType};
use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError, parts_of_key};
use retention_core::evidence::tiles::{Tiles, bundles, entries_of};
use retention_core::evidence::tree::leaf;
use retention_core::id::Digest;
use serde_json::{Value, json};

use super::super::files::{read_bounded, unwritten};
use super::super::{Bar, Call, Context, refuse};
use crate::args::audit::{Format, Witnesses};
use crate::exit::Cause;

/// One bundle has 256 envelopes; anything longer is none of ours.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024;

/// How many envelopes a whole bundle has (c2sp.org/tlog-tiles).
const ENTRIES_PER_BUNDLE: u64 = 256;

/// How many bundles one processor reads and hashes before they are put together.
const BUNDLES_PER_PIECE: usize = 64;

/// The events as CloudEvents, beside the files of tlog-tiles.
const CLOUD_EVENTS: &str = "events.cloudevents.jsonl";

/// Writes the log, as its tree has it, into a new directory (C2SP tlog-tiles). The root is computed here and compared
/// with what was signed: when they differ, there is no checkpoint in the directory.
pub(super) fn export(
    context: &mut Context,
    into: &Path,
    format: Option<Format>,
    cosigned: bool,
) -> Result<ExitCode, Cause> {
    let asked = Call::to(Operation::AuditCheckpoint, &[]).asking(&CheckpointQuery { cosigned });
    let newest: CheckpointRow = context.client.typed(&asked)?;
    match fs::read_dir(into).map(|mut there| there.next().is_some()) {
        Ok(true) => {
            return Err(refuse(ErrorCode::WrongState, format!("{} is not empty; nothing was written", into.display())));
        }
        Ok(false) => {}
        Err(_) => fs::create_dir_all(into).map_err(unwritten(into))?,
    }
    let file = |path: &str, bytes: &[u8]| {
        let path = into.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritten(parent))?;
        }
        fs::write(&path, bytes).map_err(unwritten(&path))
    };
    let mut tiles = Tiles::default();
    // A page at a time: the log grows on, and what is wanted ends with the checkpoint.
    let query = ListQuery { after: Some(Cursor(0)), limit: Some(newest.size) };
    let call = Call::to(Operation::AuditEnvelopes, &[]).asking(&query);
    Bar::new(&context.globals).over(&context.client, &call, |_, row| {
        let row: EnvelopeRow = serde_json::from_value(row).map_err(|_| Cause::Unreadable)?;
        let bytes = row.bytes().filter(|_| row.position.0 == tiles.size() + 1).ok_or(Cause::Unreadable)?;
        tiles.push(&bytes, file)
    })?;
    let (size, root) = (tiles.size(), tiles.root());
    tiles.finish(file)?;
    if (size, root) != (newest.size, newest.root) {
        let message = format!(
            "the events that the daemon told do not have the root that was signed over {} events: what lies in {} is not \
             the log that was signed",
            newest.size,
            into.display()
        );
        return Err(refuse(ErrorCode::VerificationFailed, message));
    }
    if let Some(Format::Cloudevents) = format {
        let origin = Checkpoint::unverified(&newest.note).map_err(|_| Cause::Unreadable)?.origin;
        write_cloud_events(context, &into.join(CLOUD_EVENTS), &origin, newest.size)?;
    }
    file("checkpoint", newest.note.as_bytes())?;
    context.present(&json!({
        "size": size,
        "root": root,
        "cosigned_by": newest.cosigned_by,
        "directory": into.display().to_string(),
    }))?;
    context.next(&format!("retentionctl audit verify {} --key KEY", into.display()));
    Ok(ExitCode::Done)
}

/// Writes the events that the checkpoint covers, one in each line. What an envelope does not hold, a checkpoint says
/// nothing of.
fn write_cloud_events(context: &Context, path: &Path, origin: &str, size: u64) -> Result<(), Cause> {
    let mut out = io::BufWriter::new(fs::File::create_new(path).map_err(unwritten(path))?);
    let asked = AuditQuery { limit: Some(size), order: Order::OldestFirst, ..AuditQuery::default() };
    let mut written = 0;
    let bar = Bar::new(&context.globals);
    let done = context.client.stream(&Call::to(Operation::AuditQuery, &[]).asking(&asked), |line| match line {
        Line::Row(row) => {
            let is_next = row.get("position").and_then(Value::as_u64) == Some(written + 1);
            let event = cloud_event(origin, &row).filter(|_| is_next).ok_or(Cause::Unreadable)?;
            written += 1;
            bar.show(&Progress { unit: "events".to_owned(), done: written, total: Some(size) });
            writeln!(out, "{event}").map_err(unwritten(path))
        }
        Line::Progress(_) | Line::Error(_) | Line::End(_) => Ok(()),
    });
    bar.bar.finish_and_clear();
    done?;
    if written != size {
        return Err(Cause::Unreadable);
    }
    out.flush().map_err(unwritten(path))
}

/// Goes through such a directory: every entry, every hash, the signed root, and what others have kept of it.
pub(super) fn verify(
    context: &mut Context,
    dir: &Path,
    keys: &[String],
    against: &[PathBuf],
    witnesses: &Witnesses,
) -> Result<ExitCode, Cause> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wrong = |message: String| refuse(ErrorCode::VerificationFailed, message);
    let checkpoint_of = |path: &Path| -> Result<(Checkpoint, String), Cause> {
        let note = read_text(path)?;
        let checkpoint = Checkpoint::verify(&note, &keys);
        let checkpoint = checkpoint.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        Ok((checkpoint, note))
    };
    let path = dir.join("checkpoint");
    let (signed, note) = checkpoint_of(&path)?;
    let cosigned_by = super::cosigned_by(&path.display().to_string(), &note, signed.size, witnesses)?;
    let mut others = Vec::with_capacity(against.len());
    for path in against {
        let (other, note) = checkpoint_of(path)?;
        if other.origin != signed.origin {
            return Err(wrong(format!(
                "{} is of the log {}, and this is the log {}: only checkpoints of one log can be compared",
                path.display(),
                other.origin,
                signed.origin
            )));
        }
        if other.size > signed.size {
            return Err(wrong(format!(
                "{} covers {} events, and this log has {}: events are missing, or the directory is older",
                path.display(),
                other.size,
                signed.size
            )));
        }
        others.push((path, other, note));
    }
    let bar = Bar::new(&context.globals);
    let mut tiles = Tiles::default();
    let fits = |tiles: &Tiles| match others
        .iter()
        .find(|(_, other, _)| other.size == tiles.size() && other.root != tiles.root())
    {
        Some((path, ..)) => {
            Err(wrong(format!("{} contradicts this log: it is not the one that was signed", path.display())))
        }
        None => Ok(()),
    };
    fits(&tiles)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = (0..).zip(bundles(signed.size));
    let mut adopted = Vec::new();
    loop {
        // What every processor reads and hashes at a time is put together by one.
        let together: Vec<(u64, (String, u64))> = all.by_ref().take(processors * BUNDLES_PER_PIECE).collect();
        if together.is_empty() {
            break;
        }
        let hashed: Vec<Result<Hashed, Cause>> = std::thread::scope(|scope| {
            let hash = |piece: &[(u64, (String, u64))]| -> Vec<_> {
                piece.iter().map(|(number, (bundle, count))| hashed(dir, *number, bundle, *count)).collect()
            };
            let pieces: Vec<_> =
                together.chunks(BUNDLES_PER_PIECE).map(|piece| scope.spawn(move || hash(piece))).collect();
            pieces.into_iter().flat_map(|piece| piece.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for bundle in hashed {
            let bundle = bundle?;
            adopted.extend(bundle.adopted);
            for (entry, hash) in entries_of(&bundle.bytes).unwrap_or_default().into_iter().zip(bundle.leaves) {
                tiles.push_hashed(entry, hash, |name, expected| same(dir, name, expected))?;
                fits(&tiles)?;
            }
        }
        bar.show(&Progress { unit: "events".to_owned(), done: tiles.size(), total: Some(signed.size) });
    }
    bar.bar.finish_and_clear();
    let (size, root): (u64, Digest) = (tiles.size(), tiles.root());
    tiles.finish(|name, expected| same(dir, name, expected))?;
    if root != signed.root {
        return Err(wrong(format!("{} is not the log that was signed: it has another root", dir.display())));
    }
    let kept = others.iter().map(|(path, other, note)| (path.as_path(), other, note));
    for (path, checkpoint, note) in std::iter::once((path.as_path(), &signed, &note)).chain(kept) {
        if !is_by_adopted(note, checkpoint.size, &keys, &adopted) {
            return Err(wrong(format!("{}: {}", path.display(), CheckpointError::ReplacedKey)));
        }
    }
    context.present(&json!({
        "holds": true,
        "log": signed.origin,
        "size": size,
        "root": root,
        "cosigned_by": cosigned_by,
        "compared_with": others.iter().map(|(_, other, _)| other.size).collect::<Vec<_>>(),
        "not_checked": beside(dir)?,
    }))?;
    Ok(ExitCode::Done)
}

/// Says whether a checkpoint over so many events is signed by the key that the log had adopted last by then. Of a log that
/// says nothing of it, as far as it is there, nobody knows more than the keys that they have.
fn is_by_adopted(note: &str, size: u64, keys: &[&str], adopted: &[(u64, Digest)]) -> bool {
    let Some((_, newest)) = adopted.iter().rev().find(|(position, _)| *position <= size) else { return true };
    keys.iter().filter(|key| Checkpoint::verify(note, &[**key]).is_ok()).any(|key| {
        let verifier_key = parts_of_key(key).map_or(*key, |(key, _)| key).to_owned();
        let body = Event::SigningKeyAdopted(SigningKeyAdopted { verifier_key }).encode_body();
        body.is_ok_and(|body| Digest::of(&body) == *newest)
    })
}

/// Returns the names of what lies in the directory and is no part of the signed log, such as its events as CloudEvents:
/// nobody signed that, and whoever reads it must not take it for checked.
fn beside(dir: &Path) -> Result<Vec<String>, Cause> {
    let unread = |source| Cause::File { path: dir.to_owned(), doing: "read", source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unread)? {
        let name = entry.map_err(unread)?.file_name().to_string_lossy().into_owned();
        if name != "checkpoint" && name != "tile" {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A bundle of entries with the hash of each.
struct Hashed {
    bytes: Vec<u8>,
    leaves: Vec<Digest>,
    /// Where the log adopts keys that sign checkpoints, and the digest of what it says of each.
    adopted: Vec<(u64, Digest)>,
}

/// Reads a bundle, and checks that it has the envelopes of the events that it should.
fn hashed(dir: &Path, number: u64, bundle: &str, count: u64) -> Result<Hashed, Cause> {
    let wrong = |message: String| refuse(ErrorCode::VerificationFailed, message);
    let path = dir.join(bundle);
    let bytes = part(&path)?;
    let entries = entries_of(&bytes).filter(|entries| entries.len() as u64 == count);
    let entries = entries.ok_or_else(|| wrong(format!("{} is no bundle of {count} entries", path.display())))?;
    let mut leaves = Vec::with_capacity(entries.len());
    let mut adopted = Vec::new();
    for (position, entry) in (number * ENTRIES_PER_BUNDLE + 1..).zip(entries) {
        let envelope = Envelope::parse(entry).ok().filter(|envelope| envelope.position.0 == position);
        let envelope = envelope.ok_or_else(|| {
            wrong(format!("{}: entry {position} is not the envelope of event {position}", path.display()))
        })?;
        let adopts = EventType::SigningKeyAdopted;
        if (envelope.event_type, envelope.schema) == (adopts as u16, schema_of(adopts)) {
            adopted.push((position, envelope.body_digest));
        }
        leaves.push(leaf(entry));
    }
    Ok(Hashed { bytes, leaves, adopted })
}

fn same(dir: &Path, name: &str, expected: &[u8]) -> Result<(), Cause> {
    let path = dir.join(name);
    if part(&path)? == expected {
        return Ok(());
    }
    Err(refuse(ErrorCode::VerificationFailed, format!("{} is not what the entries make it", path.display())))
}

/// Reads a part of the log. Where one is missing, the log is not whole: that is no mistake of whoever asks.
fn part(path: &Path) -> Result<Vec<u8>, Cause> {
    match read_bounded(path, BUNDLE_BYTES_MAX) {
        Err(Cause::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let message = format!("{} is missing, so the log is not whole", path.display());
            Err(refuse(ErrorCode::VerificationFailed, message))
        }
        read => read,
    }
}

fn read_text(path: &Path) -> Result<String, Cause> {
    let bytes = read_bounded(path, CHECKPOINT_BYTES_MAX as u64)?;
    String::from_utf8(bytes)
        .map_err(|_| refuse(ErrorCode::VerificationFailed, format!("{} is no signed checkpoint", path.display())))
}
