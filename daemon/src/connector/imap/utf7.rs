//! Names of folders on the wire: modified UTF-7 (RFC 3501, 5.1.3).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Returns the name that a person reads. What is no modified UTF-7 is returned as it is: some servers send UTF-8.
#[must_use]
pub(super) fn decode(wire: &str) -> String {
    try_decode(wire).unwrap_or_else(|| wire.to_owned())
}

fn try_decode(wire: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = wire;
    while let Some(at) = rest.find('&') {
        text.push_str(rest.get(..at)?);
        let (shifted, after) = rest.get(at + 1..)?.split_once('-')?;
        if shifted.is_empty() {
            text.push('&');
        } else {
            let bytes = ENGINE.decode(shifted).ok()?;
            if bytes.len() % 2 != 0 {
                return None;
            }
            let units: Vec<u16> =
                bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect();
            text.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// Returns the name as it goes over the wire.
#[must_use]
pub(super) fn encode(text: &str) -> String {
    let mut wire = String::new();
    let mut shifted = String::new();
    for c in text.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut shifted, &mut wire);
            wire.push(c);
            if c == '&' {
                wire.push('-');
            }
        } else {
            shifted.push(c);
        }
    }
    flush(&mut shifted, &mut wire);
    wire
}

fn flush(shifted: &mut String, wire: &mut String) {
    if !shifted.is_empty() {
        let bytes: Vec<u8> = shifted.encode_utf16().flat_map(u16::to_be_bytes).collect();
        wire.push('&');
        wire.push_str(&ENGINE.encode(bytes));
        wire.push('-');
        shifted.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_standard_are_read_and_written() {
        let name = "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}";
        assert_eq!(encode(name), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-"), name);
        assert_eq!((encode("R&D").as_str(), decode("R&-D").as_str()), ("R&-D", "R&D"));
        for not_encoded in ["R&D", "&****-", "Účty", "&AA-"] {
            assert_eq!(decode(not_encoded), not_encoded);
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in any::<String>()) {
            let wire = encode(&name);
            prop_assert!(wire.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode(&wire), name);
        }

        #[test]
        fn any_text_is_decoded_or_left(wire in "[&,+A-Za-z0-9/-]{0,40}") {
            let _read = decode(&wire);
        }
    }
}
