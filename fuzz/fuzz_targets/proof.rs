//! A proof of an event, and one of growth: what is read and written again is read the same, and proves nothing under a strange key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::event::Envelope;
use retention_core::evidence::checkpoint::{Checkpoint, keys_of};
use retention_core::evidence::growth::{GROWTH_BYTES_MAX, GrowthProof};
use retention_core::evidence::proof::{EventProof, PROOF_BYTES_MAX};
use retention_core::evidence::tree;

fn growth(text: &str) {
    let Ok(proof) = GrowthProof::parse(text) else { return };
    assert!(text.len() <= GROWTH_BYTES_MAX);
    assert_eq!(GrowthProof::parse(&proof.text()), Ok(proof.clone()));
    let (_, verifier) = keys_of(&[7; 32], "log.example/fuzz").expect("keys");
    assert!(proof.verify(&[&verifier]).is_err(), "this key signed nothing of it");
}

fuzz_target!(|text: &str| {
    growth(text);
    let Ok(proof) = EventProof::parse(text) else { return };
    assert!(text.len() <= PROOF_BYTES_MAX);
    assert_eq!(EventProof::parse(&proof.text()), Ok(proof.clone()));
    assert_eq!(proof.text(), text, "one proof has one form");
    let (signer, verifier) = keys_of(&[7; 32], "log.example/fuzz").expect("keys");
    assert!(proof.verify(&[&verifier]).is_err(), "this key signed nothing of it");
    // Under a checkpoint that fits a tree of one leaf only the envelope itself can be wrong.
    let checkpoint = Checkpoint { origin: "log.example/fuzz".to_owned(), size: 1, root: tree::leaf(&proof.envelope) };
    let signed = checkpoint.sign(&signer).expect("a signature");
    let alone = EventProof { leaf: 0, path: Vec::new(), checkpoint: signed, ..proof.clone() };
    match (alone.verify(&[&verifier]), Envelope::parse(&proof.envelope)) {
        (Ok((envelope, _)), Ok(read)) => assert!(envelope == read && read.position.0 == 1),
        (Err(_), Ok(read)) => assert_ne!(read.position.0, 1),
        (Ok(_), Err(error)) => panic!("{error}"),
        (Err(_), Err(_)) => {}
    }
    let longer = EventProof { path: proof.path, ..alone };
    assert!(longer.path.is_empty() || longer.verify(&[&verifier]).is_err());
});
