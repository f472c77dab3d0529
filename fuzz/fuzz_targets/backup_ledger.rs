//! The ledger of erasures: lines of any content under good digests, and a good ledger with one change. What was not written by the
//! store is refused, and a ledger that is cut off is a beginning of the whole.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use retention_core::id::{EntityId, Handle, Position};
use retention_core::time::Timestamp;
use retention_fuzz::{Input, scratch};
use retentiond::store::backup::ledger::{Erasure, LedgerError, LedgerFile, Read};
use retentiond::store::vault::seal::IndexKey;

const STORE: [u8; 16] = [3; 16];

fn key() -> IndexKey {
    IndexKey::of(&[5; 32])
}

/// Gives every line the digest that the store would give it.
fn signed(text: &[u8]) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), None::<Handle>);
    let first = format!("retentiond ledger of erasures 1 {}", hex::encode(STORE));
    for line in std::iter::once(first.as_bytes()).chain(text.split(|byte| *byte == b'\n')) {
        let mac = key().handle(&[b"ledger of erasures", before.as_ref().map_or(&[], |mac| mac.0.as_slice()), line]);
        out.extend_from_slice(line);
        out.extend_from_slice(format!(" {}\n", hex::encode(mac.0)).as_bytes());
        before = Some(mac);
    }
    out
}

fn read(path: &Path, bytes: &[u8]) -> Result<Read, LedgerError> {
    std::fs::write(path, bytes).expect("a scratch file");
    Read::of(path, &key(), STORE)
}

fn written(path: &Path, input: &mut Input<'_>) -> Vec<u8> {
    let _removed = std::fs::remove_file(path);
    let mut ledger = LedgerFile::open(path, key(), STORE).expect("a new ledger");
    let mut position = 0;
    for _ in 0..input.byte() % 8 {
        position += 1 + u64::from(input.byte());
        let entity = EntityId(u32::from(input.byte()));
        let done = match input.byte() % 4 {
            0 => ledger.restored(
                entity.0,
                Position(position.saturating_sub(u64::from(input.byte()))),
                Position(position),
            ),
            1 => ledger.has_all(Position(position), Timestamp(i64::from(input.number()) * 1_000_003)),
            _ => {
                let at = Timestamp(i64::from(input.number()) * 1_000_003);
                ledger.destroyed(&[(entity, Erasure { position: Position(position), at })])
            }
        };
        done.expect("a line");
    }
    std::fs::read(path).expect("the ledger")
}

fuzz_target!(|bytes: &[u8]| {
    let path = scratch().join("ledger");
    let mut input = Input(bytes);
    match input.byte() % 4 {
        0 => {
            let whole = written(&path, &mut input);
            let at = usize::from(input.number()) % whole.len();
            let all = read(&path, &whole).expect("what was written is read");
            let begun = read(&path, &whole[..at]).expect("what is cut off is a beginning");
            assert!(begun.restores.iter().eq(all.restores.iter().take(begun.restores.len())));
            let mut damaged = whole;
            damaged[at] ^= 1 << (input.byte() % 8);
            // Only in the last line may a change look like a line that was being written.
            match read(&path, &damaged) {
                Err(LedgerError::Changed { line }) => assert!(line >= 1),
                Err(error) => panic!("{error}"),
                Ok(read) => assert!(damaged.last() != Some(&b'\n') && read != all),
            }
        }
        1 => {
            let _any = read(&path, input.0);
        }
        _ => {
            if let Ok(told) = read(&path, &signed(input.0)) {
                let mut ledger = LedgerFile::open(&path, key(), STORE).expect("what is read is opened");
                assert_eq!((ledger.last(), ledger.until()), (told.reach.last, told.reach.until));
                let erasure = Erasure { position: Position(u64::MAX), at: Timestamp(0) };
                ledger.destroyed(&[(EntityId(1), erasure)]).expect("a line more");
                drop(ledger);
                let again = Read::of(&path, &key(), STORE).expect("with a line more it is read");
                assert_eq!(again.destroyed.get(&EntityId(1)), Some(&erasure));
                assert_eq!(again.restores, told.restores);
            }
        }
    }
});
