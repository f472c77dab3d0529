//! A certificate as somebody hands it over, and its JSON under a good signature: nothing that is not proven verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::evidence::certificate::{Certificate, page::page};
use retention_core::evidence::checkpoint::keys_of;

fuzz_target!(|text: &str| {
    let (signer, verifier) = keys_of(&[7; 32], "log.example/fuzz").expect("keys");
    assert!(Certificate::verify(text, &[&verifier]).is_err());
    let Ok(certificate) = Certificate::unverified(text) else { return };
    let signed = certificate.sign(&signer).expect("a certificate that was read can be signed");
    assert_eq!(Certificate::unverified(&signed), Ok(certificate.clone()));
    assert!(Certificate::verify(&signed, &[&verifier]).is_err(), "its events carry no proof of this key");
    assert!(!page(&certificate).contains("<script"));
});
