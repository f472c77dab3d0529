//! What a workbook makes its reader hold, told before it is read: the reader sets memory aside for as many texts and
//! shared formulas as a part speaks of, and one that speaks of a billion ends the process.
//!
//! A number counts wherever it stands, also in a comment: a part that hides it from this look cannot be made.

use std::io::{self, Write};

use memchr::memmem;

/// What the reader sets aside for a shared text, beside its bytes.
const TEXT_BYTES: u64 = 24;

/// What it sets aside for a shared formula.
const FORMULA_BYTES: u64 = 128;

/// How much of what follows a name is looked at: blanks, a sign, and the digits of a number.
const LOOK_BYTES: usize = 128;

/// How many shared texts a part says that there are.
const TEXTS_SAID: &[u8] = b"uniqueCount";

/// The name of a shared text, and the attribute with the number of a shared formula.
const TEXT_OR_FORMULA: &[u8] = b"si";

/// Takes a part while it is unpacked, and keeps nothing of it but what it costs.
#[derive(Default)]
pub(super) struct Cost {
    bytes: u64,
    texts: u64,
    texts_said: u64,
    formulas: u64,
    /// What was not looked at yet, behind the last byte that was.
    window: Vec<u8>,
    looked: usize,
}

impl Cost {
    /// Returns how many bytes reading the part takes.
    pub(super) fn total(mut self) -> u64 {
        self.look_until(self.window.len());
        let texts = self.texts.max(self.texts_said).saturating_mul(TEXT_BYTES);
        let formulas = self.formulas.saturating_mul(FORMULA_BYTES);
        self.bytes.saturating_add(texts).saturating_add(formulas)
    }

    fn look_until(&mut self, end: usize) {
        let window = std::mem::take(&mut self.window);
        let is_new = |at: &usize| (self.looked..end).contains(at);
        for at in memmem::find_iter(&window, TEXTS_SAID).filter(is_new) {
            self.texts_said = self.texts_said.max(number_behind(&window, at + TEXTS_SAID.len()).unwrap_or(0));
        }
        for at in memmem::find_iter(&window, TEXT_OR_FORMULA).filter(is_new) {
            match at.checked_sub(1).and_then(|before| window.get(before)) {
                Some(b'<' | b':') => self.texts += 1,
                Some(before) if before.is_ascii_whitespace() => {
                    let number = number_behind(&window, at + TEXT_OR_FORMULA.len());
                    self.formulas = self.formulas.max(number.map_or(0, |number| number.saturating_add(1)));
                }
                _ => {}
            }
        }
        self.window = window;
        self.looked = self.looked.max(end);
    }
}

impl Write for Cost {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.bytes += chunk.len() as u64;
        // A part may be in UTF-16, as Excel writes the queries of a workbook: without its zeros a name is as in UTF-8.
        match memchr::memchr(0, chunk) {
            None => self.window.extend_from_slice(chunk),
            Some(_) => self.window.extend(chunk.iter().filter(|byte| **byte != 0)),
        }
        self.look_until(self.window.len().saturating_sub(TEXTS_SAID.len() + LOOK_BYTES));
        let behind = self.looked.saturating_sub(1);
        self.window.drain(..behind);
        self.looked -= behind;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the number in quotes behind the name of an attribute that ends at `from`. One that is not to be seen in so many
/// bytes is the largest.
fn number_behind(window: &[u8], from: usize) -> Option<u64> {
    let rest = window.get(from..)?;
    let seen = rest.get(..LOOK_BYTES).unwrap_or(rest);
    let is_cut = |left: &[u8]| left.is_empty() && seen.len() == LOOK_BYTES;
    let behind = seen.trim_ascii_start();
    if is_cut(behind) {
        return Some(u64::MAX);
    }
    let behind = behind.strip_prefix(b"=")?.trim_ascii_start();
    if is_cut(behind) {
        return Some(u64::MAX);
    }
    let digits = behind.strip_prefix(b"\"").or_else(|| behind.strip_prefix(b"'"))?;
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let append = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.fold(0, append))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a part costs, unpacked in chunks of so many bytes.
    fn cost(part: &[u8], chunk: usize) -> u64 {
        let mut cost = Cost::default();
        part.chunks(chunk).for_each(|chunk| cost.write_all(chunk).unwrap());
        cost.total()
    }

    #[test]
    fn texts_and_formulas_count_with_what_is_set_aside_for_them_however_the_part_comes() {
        let padding = "x".repeat(500);
        for (part, more) in [
            ("<sst uniqueCount=\"5\"><si/>".to_owned(), 5 * TEXT_BYTES),
            ("<sst uniqueCount=\"1\"><si><t/></si><x:si/><si/>".to_owned(), 3 * TEXT_BYTES),
            ("<f t=\"shared\" si=\"7\"/>".to_owned(), 8 * FORMULA_BYTES),
            (format!("{padding}<f\nsi = '2'>{padding}<f si=\"1\">"), 3 * FORMULA_BYTES),
            ("<t>si</t> basis=\"9\" <f si=\"x\"/>".to_owned(), FORMULA_BYTES),
            (padding, 0),
        ] {
            for chunk in [1, 2, 7, 128, 139, 140, 8_192] {
                assert_eq!(cost(part.as_bytes(), chunk), part.len() as u64 + more, "{part} by {chunk}");
                for wide in [u16::to_le_bytes, u16::to_be_bytes] {
                    let wide: Vec<u8> = part.encode_utf16().flat_map(wide).collect();
                    assert_eq!(cost(&wide, chunk), wide.len() as u64 + more, "{part} in UTF-16 by {chunk}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_can_hold_or_see_costs_more_than_there_is() {
        let blanks = " ".repeat(LOOK_BYTES);
        for part in [
            "<sst uniqueCount=\"99999999999999999999999999\">".to_owned(),
            "<f si=\"18446744073709551615\">".to_owned(),
            format!("<f si{blanks}=\"1\">"),
            format!("<sst uniqueCount={blanks}\"1\">"),
        ] {
            for chunk in [1, 64, 8_192] {
                assert_eq!(cost(part.as_bytes(), chunk), u64::MAX, "{part} by {chunk}");
            }
        }
    }
}
