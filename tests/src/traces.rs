//! A search for traces: in every file of a directory, and in every byte of the memory of a process.
//!
//! What is looked for are words, which stand in a text again and again so that one of them is whole where an allocator
//! wrote over a part, and keys, of which any of the four parts of eight bytes counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memmem;

use crate::disk::files;

/// How much of a memory or a file is looked at together. What lies across two of these is in both.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// What is zeros as a whole is passed without a closer look.
const BLOCK_BYTES: usize = 4096;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The longest thing that is looked for.
const OVERLAP_BYTES: usize = 64;

/// How many bytes of a key count as that key: a part that long is there by chance once in some
/// ten thousand searches of the largest kind.
const KEY_PART_BYTES: usize = 8;

/// The first bytes of a part, by which nearly all places are passed at once.
const HEAD_BITS: usize = 24;

/// What is looked for.
#[derive(Debug)]
pub struct Traces {
    words: Vec<String>,
    /// A bit for each beginning that a part of a key has.
    heads: Vec<u64>,
    /// The parts, and of which key.
    parts: HashMap<[u8; KEY_PART_BYTES], u32>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// How often each thing was found, and where first.
    pub things: BTreeMap<String, (u64, String)>,
    /// In which stretches of 64 KiB: what one thread left on its stack is in one or two.
    pub stretches: BTreeSet<u64>,
}

/// About what a thread uses of its stack.
const STRETCH_BYTES: u64 = 64 * 1024;

impl Traces {
    /// Looks for words, and for keys by their numbers.
    #[must_use]
    pub fn of(words: &[&str], keys: impl IntoIterator<Item = (u32, [u8; 32])>) -> Self {
        let mut traces = Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            heads: vec![0; (1 << HEAD_BITS) / 64],
            parts: HashMap::new(),
        };
        for (number, key) in keys {
            for part in key.chunks_exact(KEY_PART_BYTES) {
                let Ok(part) = <[u8; KEY_PART_BYTES]>::try_from(part) else { continue };
                let head = head(&part);
                traces.heads[head / 64] |= 1 << (head % 64);
                traces.parts.insert(part, number);
            }
        }
        traces
    }

    /// Looks at every file below a directory.
    #[must_use]
    pub fn in_directory(&self, dir: &Path) -> Found {
        let mut found = Found::default();
        for path in files(dir) {
            // A file that is removed meanwhile holds nothing.
            let Ok(file) = File::open(&path) else { continue };
            let size = file.metadata().map_or(0, |meta| meta.len());
            let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            self.in_range(&file, 0..size, &name, &mut found);
        }
        found
    }

    /// Looks at every byte that a process has in its memory, and returns how many those were.
    ///
    /// # Panics
    /// When its memory cannot be read: only root, or whoever may trace it, can.
    #[must_use]
    pub fn in_memory(&self, process: u32) -> (Found, u64) {
        let of = |name: &str| format!("/proc/{process}/{name}");
        let memory = File::open(of("mem")).expect("the memory of the process");
        let mut maps = String::new();
        File::open(of("maps")).and_then(|mut file| file.read_to_string(&mut maps)).expect("the map of the memory");
        let (mut found, mut bytes) = (Found::default(), 0);
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
            let name = fields.nth(3).unwrap_or("anonymous");
            // What the kernel gives every process, and what only it can read.
            if !rights.starts_with('r') || name.starts_with("[v") {
                continue;
            }
            let ends =
                range.split_once('-').map(|(from, to)| (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)));
            let Some((Ok(from), Ok(to))) = ends else { panic!("no line of a map: {line}") };
            bytes += self.in_range(&memory, from..to, name, &mut found);
        }
        (found, bytes)
    }

    /// Looks at a part of a file, and returns how much of it could be read: pages that were never touched are none.
    fn in_range(&self, file: &File, range: std::ops::Range<u64>, name: &str, found: &mut Found) -> u64 {
        let mut piece = vec![0; PIECE_BYTES];
        let (mut at, mut bytes) = (range.start, 0);
        while at < range.end {
            let wanted = usize::try_from(range.end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let Ok(read @ 1..) = file.read_at(&mut piece[..wanted], at) else { break };
            bytes += read as u64;
            self.in_piece(&piece[..read], at, name, found);
            let passed =
                if at + read as u64 >= range.end || read <= OVERLAP_BYTES { read } else { read - OVERLAP_BYTES };
            at += passed as u64;
        }
        bytes
    }

    fn in_piece(&self, piece: &[u8], at: u64, name: &str, found: &mut Found) {
        let mut note = |what: String, place: usize| {
            let around = &piece[place.saturating_sub(24)..piece.len().min(place + 40)];
            let first = format!("{name} at {:#x}: {}", at + place as u64, around.escape_ascii());
            found.things.entry(what).or_insert((0, first)).0 += 1;
            found.stretches.insert((at + place as u64) / STRETCH_BYTES);
        };
        for word in &self.words {
            memmem::find_iter(piece, word.as_bytes()).for_each(|place| note(format!("the word {word}"), place));
        }
        if self.parts.is_empty() {
            return;
        }
        for begin in (0..piece.len()).step_by(BLOCK_BYTES) {
            // Much of a memory was never written.
            if piece[begin..piece.len().min(begin + BLOCK_BYTES)] == ZEROS[..BLOCK_BYTES.min(piece.len() - begin)] {
                continue;
            }
            let from = begin.saturating_sub(KEY_PART_BYTES - 1);
            let block = &piece[from..piece.len().min(begin + BLOCK_BYTES + KEY_PART_BYTES - 1)];
            for (place, window) in block.windows(KEY_PART_BYTES).enumerate() {
                let head = head(window);
                if self.heads[head / 64] & (1 << (head % 64)) == 0 {
                    continue;
                }
                if let Some(number) = self.parts.get(window) {
                    note(format!("the key {number}"), from + place);
                }
            }
        }
    }
}

fn head(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16
}

/// Returns how many bytes the files below a directory take.
///
/// # Panics
/// When a file cannot be looked at.
#[must_use]
pub fn bytes_below(dir: &Path) -> u64 {
    files(dir).iter().map(|path| fs::metadata(path).map_or(0, |meta| meta.len())).sum()
}
