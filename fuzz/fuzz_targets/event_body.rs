//! A stored body behind its type and schema version, and an envelope whose checksum is right: what is read is written again, and
//! read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::event::codec::{self, BODY_BYTES_MAX, Bodies as _, CodecError};
use retention_core::event::envelope::ENVELOPE_BYTES;
use retention_core::event::{Envelope, EventType};
use retention_fuzz::Input;

fn envelope(bytes: &[u8]) {
    let mut envelope = [0; ENVELOPE_BYTES];
    let taken = bytes.len().min(ENVELOPE_BYTES - 4);
    envelope[..taken].copy_from_slice(&bytes[..taken]);
    let checksum = crc32c::crc32c(&envelope[..ENVELOPE_BYTES - 4]);
    envelope[ENVELOPE_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    if let Ok(read) = Envelope::parse(&envelope) {
        assert_eq!(read.to_bytes(), envelope, "one envelope has one form");
    }
    assert!(bytes.len() == ENVELOPE_BYTES || Envelope::parse(bytes).is_err());
}

fuzz_target!(|bytes: &[u8]| {
    envelope(bytes);
    let mut input = Input(bytes);
    let (event_type, schema) = (input.number(), u16::from(input.byte()));
    match codec::read(event_type, schema, input.0) {
        Ok(event) => {
            assert!(input.0.len() <= BODY_BYTES_MAX);
            assert_eq!(event.event_type() as u16, event_type);
            let written = event.encode_body().expect("what was read can be written");
            let again = codec::read(event_type, codec::schema_of(event.event_type()), &written);
            // Compared as bytes: a number that is none is not equal to itself.
            assert_eq!(again.and_then(|event| event.encode_body()), Ok(written));
            let _shown = format!("{event:?}");
        }
        Err(CodecError::Unknown { .. }) => {
            assert!(EventType::from_number(event_type).is_none_or(|known| codec::schema_of(known) != schema));
        }
        Err(_) => {}
    }
});
