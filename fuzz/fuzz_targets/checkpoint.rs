//! A signed checkpoint: what is read is written the same; a signature holds for what was signed and for nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, keys_of, origin_of, verifier_of};

fuzz_target!(|text: &str| {
    let (_, verifier) = keys_of(&[7; 32], "log.example/fuzz").expect("keys");
    if let Ok(checkpoint) = Checkpoint::unverified(text) {
        assert!(text.len() <= CHECKPOINT_BYTES_MAX);
        assert!(text.starts_with(&checkpoint.text()), "what was read stands there as it is written");
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
        // A key of the very name: signed, it verifies; nobody else's signature does.
        if let Ok((signer, verifier)) = keys_of(&[9; 32], &checkpoint.origin) {
            let signed = checkpoint.sign(&signer).expect("a checkpoint that was read can be signed");
            assert_eq!(Checkpoint::verify(&signed, &[&verifier]), Ok(checkpoint.clone()));
            assert!(Checkpoint::verify(text, &[&verifier]).is_err(), "this key signed nothing of it");
            assert_eq!(verifier_of(&signer), Ok(verifier));
        }
    }
    assert!(Checkpoint::verify(text, &[&verifier]).is_err());
    assert!(Checkpoint::verify(text, &[text]).is_err());
    let _name = origin_of(text);
    if let Ok(verifier) = verifier_of(text) {
        assert!(origin_of(&verifier).is_ok());
    }
});
