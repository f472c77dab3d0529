use retention_core::event::Actor;
use retention_core::evidence::checkpoint::keys_of;
use retention_core::id::StreamId;
use retention_core::time::Timestamp;

use super::*;

fn envelope(position: u64, digest: u8) -> Envelope {
    Envelope {
        event_type: 2,
        schema: 1,
        sealed: true,
        actor: Actor::Daemon,
        position: Position(position),
        recorded_at: Timestamp(5),
        occurred_at: Timestamp(5),
        stream: StreamId([1; 16]),
        cause: Position(0),
        entity: None,
        texts: None,
        body_len: 3,
        body_digest: Digest([digest; 32]),
    }
}

fn envelopes(range: std::ops::RangeInclusive<u64>) -> Vec<Envelope> {
    range.map(|position| envelope(position, 7)).collect()
}

fn key() -> (String, String) {
    let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
    (signer.to_string(), verifier)
}

#[test]
fn every_event_below_the_newest_checkpoint_is_proven_also_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, verifier) = key();
    let tree = Tree::open(dir.path()).unwrap();
    tree.append(&envelopes(1..=5)).unwrap();
    assert!(tree.prove(&envelope(3, 7)).unwrap().is_none(), "no checkpoint covers it yet");
    assert!(tree.checkpoint("log", &signer).unwrap().is_some());
    assert!(tree.checkpoint("log", &signer).unwrap().is_none(), "nothing is new");
    tree.append(&envelopes(6..=300)).unwrap();
    tree.checkpoint("log", &signer).unwrap();
    tree.append(&envelopes(301..=310)).unwrap();
    drop(tree);
    let tree = Tree::open(dir.path()).unwrap();
    assert_eq!((tree.leaves(), tree.covered()), (300, 300), "what no checkpoint covers is made again");
    for position in [1, 2, 5, 6, 256, 300] {
        let proof = tree.prove(&envelope(position, 7)).unwrap().unwrap();
        let (read, checkpoint) = proof.verify(&[&verifier]).unwrap();
        assert_eq!((read.position, checkpoint.size), (Position(position), 300));
    }
    assert!(tree.prove(&envelope(301, 7)).unwrap().is_none());
    let all = tree.checkpoints(0, 10).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(tree.checkpoints(1, 10).unwrap(), all[1..]);
    assert_eq!(tree.checkpoints(0, 1).unwrap(), all[..1]);
    assert_eq!(tree.checkpoints(2, 10).unwrap(), [""; 0]);
    assert!(matches!(tree.append(&envelopes(302..=303)), Err(TreeFileError::OutOfOrder)));
}

#[test]
fn hashes_that_are_torn_or_changed_are_made_again_and_come_out_the_same() {
    let (signer, _) = key();
    for damage in [0_u64, 1, 31, 32, 100, 4_000] {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.append(&envelopes(1..=100)).unwrap();
        let note = tree.checkpoint("log", &signer).unwrap().unwrap();
        drop(tree);
        let path = dir.path().join("tree/hashes");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = usize::try_from(damage).unwrap() % bytes.len();
        if damage % 2 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1
        }
        std::fs::write(&path, bytes).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let again = envelopes(tree.leaves() + 1..=100);
        tree.append(&again).unwrap();
        assert_eq!(tree.checkpoint("log", &signer).unwrap(), None);
        assert_eq!(tree.checkpoints(0, 1).unwrap(), [note]);
        for position in 1..=100 {
            match tree.prove(&envelope(position, 7)) {
                Ok(proof) => assert!(proof.unwrap().verify(&[&key().1]).is_ok(), "{damage}, {position}"),
                // Below the root a change shows only here.
                Err(error) => {
                    assert!(matches!(error, TreeFileError::HashChanged), "{damage}, {position}: {error}");
                    assert!(again.is_empty(), "{damage}: they were made again");
                }
            }
        }
    }
}

#[test]
fn a_journal_that_differs_from_what_was_signed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = key();
    let tree = Tree::open(dir.path()).unwrap();
    tree.append(&envelopes(1..=40)).unwrap();
    tree.checkpoint("log", &signer).unwrap();
    drop(tree);
    std::fs::write(dir.path().join("tree/hashes"), b"").unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    assert_eq!(tree.leaves(), 0);
    let mut other = envelopes(1..=40);
    other[11] = envelope(12, 8);
    assert!(matches!(tree.append(&other), Err(TreeFileError::Contradicts { size: 40 })));
    assert_eq!(tree.checkpoint("log", &signer).unwrap(), None, "nothing is signed instead");
}

#[test]
fn many_checkpoints_are_listed_from_any_number_on() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = key();
    let tree = Tree::open(dir.path()).unwrap();
    let framed: String = (1..=2_500)
        .map(|size| {
            let root = Digest([u8::try_from(size % 251).unwrap(); 32]);
            let note = Checkpoint { origin: "log".to_owned(), size, root }.sign(&signer).unwrap();
            format!("{}\n{note}", note.len())
        })
        .collect();
    drop(tree);
    std::fs::write(dir.path().join("tree/checkpoints"), framed).unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    assert_eq!(tree.covered(), 2_500);
    let sizes = |from, limit| {
        let notes = tree.checkpoints(from, limit).unwrap();
        notes.iter().map(|note| Checkpoint::unverified(note).unwrap().size).collect::<Vec<_>>()
    };
    for from in [0, 1, 999, 1_000, 1_001, 2_400, 2_499] {
        let last = (from + 300).min(2_500);
        assert_eq!(sizes(from, 300), (from + 1..=last).collect::<Vec<u64>>(), "{from}");
    }
    assert_eq!(sizes(2_500, 5), [0; 0]);
    assert_eq!(sizes(90_000, 5), [0; 0]);
}

#[test]
fn the_newest_checkpoint_upto_any_size_is_found_among_many() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = key();
    drop(Tree::open(dir.path()).unwrap());
    // Over 2, 4, … 4,200 events; places begin at 2, 2,002 and 4,002.
    let mut framed = String::new();
    let ends: Vec<u64> = (1..=2_100_u64)
        .map(|number| {
            let root = Digest([u8::try_from(number % 251).unwrap(); 32]);
            let note = Checkpoint { origin: "log".to_owned(), size: number * 2, root }.sign(&signer).unwrap();
            framed.push_str(&format!("{}\n{note}", note.len()));
            framed.len() as u64
        })
        .collect();
    std::fs::write(dir.path().join("tree/checkpoints"), &framed).unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    let over = |size| tree.note_over(size).unwrap().map(|note| Checkpoint::unverified(&note).unwrap().size);
    for none in [0, 1] {
        assert_eq!((tree.checkpoints_end(none).unwrap(), over(none)), (0, None), "{none}");
    }
    for number in [1_u64, 2, 999, 1_000, 1_001, 1_002, 1_999, 2_000, 2_001, 2_099, 2_100] {
        let (size, end) = (number * 2, ends[usize::try_from(number).unwrap() - 1]);
        assert_eq!((over(size), over(size + 1)), (Some(size), None), "{size}");
        for upto in [size, size + 1] {
            assert_eq!(tree.checkpoints_end(upto).unwrap(), end, "{upto}");
        }
    }
    assert_eq!(tree.checkpoints_end(u64::MAX).unwrap(), framed.len() as u64);
}

#[test]
fn a_checkpoint_that_was_changed_is_damage_and_nothing_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = key();
    let tree = Tree::open(dir.path()).unwrap();
    for upto in [3, 9, 20] {
        tree.append(&envelopes(tree.leaves() + 1..=upto)).unwrap();
        tree.checkpoint("log", &signer).unwrap();
    }
    drop(tree);
    let path = dir.path().join("tree/checkpoints");
    let whole = std::fs::read(&path).unwrap();
    // The digits of a head are changed to others, every byte to one that no checkpoint holds.
    for (at, byte) in (0..whole.len()).map(|at| (at, 0xff)).chain((0..whole.len()).map(|at| (at, b'9'))) {
        let is_digit_of_a_head = whole[at].is_ascii_digit() && (at == 0 || whole[..at].ends_with(b"=\n"));
        if byte == b'9' && (!is_digit_of_a_head || whole[at] == b'9') {
            continue;
        }
        let mut changed = whole.clone();
        changed[at] = byte;
        std::fs::write(&path, &changed).unwrap();
        assert!(Tree::open(dir.path()).is_err(), "{at}");
        assert_eq!(std::fs::read(&path).unwrap(), changed, "{at}");
    }
}

#[test]
fn a_checkpoint_that_was_torn_was_never_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = key();
    let tree = Tree::open(dir.path()).unwrap();
    tree.append(&envelopes(1..=3)).unwrap();
    tree.checkpoint("log", &signer).unwrap();
    tree.append(&envelopes(4..=9)).unwrap();
    tree.checkpoint("log", &signer).unwrap();
    drop(tree);
    let path = dir.path().join("tree/checkpoints");
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let covered = tree.covered();
        assert!([0, 3].contains(&covered), "{cut}: {covered}");
        tree.append(&envelopes(tree.leaves() + 1..=9)).unwrap();
        assert!(tree.checkpoint("log", &signer).unwrap().is_some());
    }
}
