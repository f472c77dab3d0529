//! JSON by hand: one byte form for one value, and no failure to handle.

/// Appends `"name":` after a comma, unless it is the first of its object.
pub(super) fn push_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a JSON string. Only what RFC 8259 section 7 demands is escaped: quote, backslash and control characters.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = tail.split_first() else { break };
        push_escape(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |n: u8| DIGITS.get(usize::from(n)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a whole number that is not negative.
pub(super) fn push_whole(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; DECIMAL_DIGITS_MAX];
    let mut rest = number;
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// The digits of the largest number of 64 bits.
const DECIMAL_DIGITS_MAX: usize = 20;

/// Appends a number, or anything whose text needs no quotes or escapes.
pub(super) fn push_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

/// Appends a JSON array.
pub(super) fn push_array<T>(
    out: &mut Vec<u8>,
    values: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (number, value) in values.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push(out, value);
    }
    out.push(b']');
}

/// Appends bytes as a JSON string of hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8; 32]) {
    let mut digits = [0; 64];
    // The sizes fit by type, so this does not fail.
    let _ = hex::encode_to_slice(bytes, &mut digits);
    out.push(b'"');
    out.extend_from_slice(&digits);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_back_by_another_reader(text in any::<String>()) {
            let mut out = Vec::new();
            super::push_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn whole_numbers_are_written_as_everybody_writes_them(number: u64, shift in 0..64u32) {
            for number in [number, number >> shift, 0, u64::MAX] {
                let mut out = Vec::new();
                super::push_whole(&mut out, number);
                prop_assert_eq!(out, number.to_string().into_bytes());
            }
        }
    }
}
