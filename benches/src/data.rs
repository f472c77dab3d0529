//! Generated contacts: ten columns, 300 bytes of incompressible cells, the same for the same seed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::Outcome;

/// The cells of one contact hold this many bytes.
pub(crate) const PAYLOAD_BYTES: usize = 300;

/// The seed of every run.
pub(crate) const SEED: u64 = 0x5eed_0f0d_a7a0_0001;

/// One of so many contacts falls due.
pub(crate) const DUE_ONE_OF: u64 = 10;

/// The header of the file.
pub(crate) const COLUMNS: [&str; 10] =
    ["Id", "Name", "Email", "Phone", "Company", "City", "Title", "Created", "Modified", "Notes"];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const TITLES: [&str; 4] = ["Buyer", "Owner", "Clerk", "Pilot"];

/// SplitMix64: a few lines, and good enough for data.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Appends so many letters and digits.
    pub(crate) fn text(&mut self, out: &mut String, bytes: usize) {
        let mut bits = 0;
        for n in 0..bytes {
            if n % 10 == 0 {
                bits = self.next();
            }
            let letter = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'x');
            out.push(char::from(letter));
            bits >>= 6;
        }
    }
}

/// One contact.
#[derive(Default, Clone)]
pub(crate) struct Contact {
    /// The cells, in the order of [`COLUMNS`], joined by commas; no cell needs quotes.
    pub(crate) line: String,
    /// The id alone.
    pub(crate) id: String,
    /// The day on which the first policy makes it due: days since 1970.
    pub(crate) due_day: u32,
}

/// Makes contacts. Exactly one of [`DUE_ONE_OF`] was last modified in 2022, the others later.
pub(crate) struct Contacts {
    random: Random,
    left: u64,
    due_left: u64,
    number: u64,
}

impl Contacts {
    /// Begins anew.
    pub(crate) fn new(rows: u64) -> Self {
        Self { random: Random(SEED), left: rows, due_left: rows / DUE_ONE_OF, number: 0 }
    }

    /// Makes the next one; says whether there was one left.
    pub(crate) fn next_into(&mut self, contact: &mut Contact) -> bool {
        if self.left == 0 {
            return false;
        }
        let is_due = self.random.below(self.left) < self.due_left;
        self.left -= 1;
        self.due_left -= u64::from(is_due);
        // Days since 1970: 2022 for those that fall due, 2023-07 to 2025-12 for the others.
        let modified = if is_due { 18_993 + self.random.below(365) } else { 19_539 + self.random.below(900) };
        contact.due_day = u32::try_from(modified + 1_096).unwrap_or(0);
        contact.id.clear();
        self.random.text(&mut contact.id, 16);
        contact.id.push_str(&format!("{:08x}", self.number));
        self.number += 1;
        let created = date(modified - 400 - self.random.below(1_000));
        let modified = date(modified);
        let line = &mut contact.line;
        line.clear();
        line.push_str(&contact.id);
        for bytes in [22, 26, 12, 20, 14] {
            line.push(',');
            self.random.text(line, bytes);
        }
        let title = usize::try_from(self.random.below(4)).unwrap_or(0);
        line.push(',');
        line.push_str(TITLES.get(title).copied().unwrap_or("Owner"));
        line.push_str(&format!(",{created},{modified},"));
        let commas = COLUMNS.len() - 1;
        let rest = PAYLOAD_BYTES.saturating_sub(line.len() - commas);
        self.random.text(line, rest);
        true
    }
}

/// Writes a day as ISO 8601 with a time and `Z` (the civil-from-days algorithm of H. Hinnant).
fn date(day: u64) -> String {
    let z = day + 719_468;
    let era = z / 146_097;
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}T08:30:00Z", doy - (153 * mp + 2) / 5 + 1)
}

/// Writes all contacts into one file with a header.
pub(crate) fn write_csv(path: &Path, rows: u64) -> Outcome<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(out, "{}", COLUMNS.join(","))?;
    let (mut contacts, mut contact) = (Contacts::new(rows), Contact::default());
    while contacts.next_into(&mut contact) {
        out.write_all(contact.line.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contact_holds_the_payload_and_one_in_ten_falls_due() {
        let (mut contacts, mut contact) = (Contacts::new(1_000), Contact::default());
        let (mut count, mut due) = (0, 0);
        while contacts.next_into(&mut contact) {
            let cells: Vec<&str> = contact.line.split(',').collect();
            assert_eq!(cells.len(), COLUMNS.len());
            assert_eq!(cells.iter().map(|cell| cell.len()).sum::<usize>(), PAYLOAD_BYTES);
            count += 1;
            due += u64::from(cells[8].starts_with("2022-"));
        }
        assert_eq!((count, due), (1_000, 100));
    }

    #[test]
    fn days_are_written_as_the_calendar_has_them() {
        assert_eq!(date(0), "1970-01-01T08:30:00Z");
        assert_eq!(date(18_993), "2022-01-01T08:30:00Z");
        assert_eq!(date(19_782), "2024-02-29T08:30:00Z");
    }
}
