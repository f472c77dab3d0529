//! A ZIP file that is written front to back, and from which a file that was begun can still be left out.
//!
//! As APPNOTE.TXT 6.3 has it, with a data descriptor behind each file, since nobody knows its checksum before. What is in
//! the archive says its central directory at the end: bytes that it does not name belong to nothing. Beyond 4 GiB or
//! 65,535 files the directory is that of Zip64; a single file is smaller than 4 GiB.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use jiff::civil;

/// Room for what was compressed, in bytes.
const BUFFER: usize = 64 * 1024;

/// What this needs of whoever reads it: 2.0 for deflate, 4.5 for Zip64.
const VERSION_DEFLATE: u16 = 20;
const VERSION_ZIP64: u16 = 45;

/// Made on Unix, so that the rights of a file are understood.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;

/// A descriptor follows the file; its name is UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;

/// Deflate.
const METHOD: u16 = 8;

/// A regular file that its owner reads and writes.
const RIGHTS: u32 = 0o100_600 << 16;

/// In a field of 32 bits: the number is in the Zip64 field.
const ELSEWHERE: u32 = u32::MAX;

/// A file that the directory will name.
struct Entry {
    name: String,
    offset: u64,
    crc: u32,
    squeezed: u32,
    bytes: u32,
}

/// The file that is being written.
struct Open {
    name: String,
    offset: u64,
    begins: u64,
    crc: Crc,
    bytes: u64,
}

/// Writes a ZIP file.
pub(super) struct ZipStream<W> {
    out: W,
    written: u64,
    compress: Compress,
    buffer: Vec<u8>,
    open: Option<Open>,
    entries: Vec<Entry>,
    /// When all of it was made, as DOS tells time and day.
    made: (u16, u16),
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl<W: Write> ZipStream<W> {
    /// Begins. No more than 65,535 bytes of a name fit.
    pub(super) fn new(out: W, made: civil::DateTime) -> Self {
        let year = u16::try_from(made.year()).unwrap_or(0).clamp(1980, 2107) - 1980;
        let part = |number: i8| u16::try_from(number).unwrap_or(0);
        let time = part(made.hour()) << 11 | part(made.minute()) << 5 | (part(made.second()) / 2);
        let day = year << 9 | part(made.month()) << 5 | part(made.day());
        Self {
            out,
            written: 0,
            compress: Compress::new(Compression::new(6), false),
            buffer: Vec::with_capacity(BUFFER),
            open: None,
            entries: Vec::new(),
            made: (time, day),
        }
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, name: String) -> io::Result<()> {
        if self.open.is_some() {
            return Err(refused("a file of an archive was begun inside another"));
        }
        let length = u16::try_from(name.len()).map_err(|_| refused("the name of a file in an archive is too long"))?;
        let offset = self.written;
        let mut header = Vec::with_capacity(30 + name.len());
        header.extend(0x0403_4b50_u32.to_le_bytes());
        for number in [VERSION_DEFLATE, FLAGS, METHOD, self.made.0, self.made.1] {
            header.extend(number.to_le_bytes());
        }
        // The checksum and both lengths stand behind the file.
        header.extend([0; 12]);
        header.extend(length.to_le_bytes());
        header.extend(0_u16.to_le_bytes());
        header.extend(name.as_bytes());
        self.put(&header)?;
        self.compress.reset();
        self.open = Some(Open { name, offset, begins: self.written, crc: Crc::new(), bytes: 0 });
        Ok(())
    }

    /// Adds to the file that was begun.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(refused("no file of an archive was begun")) };
        open.crc.update(bytes);
        open.bytes = open.bytes.saturating_add(bytes.len() as u64);
        self.squeeze(bytes, FlushCompress::None)
    }

    /// Ends the file that was begun: it is whole.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let entry = self.close()?;
        self.describe(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Ends the file that was begun, and leaves it out of the archive. Whoever reads front to back, without the directory,
    /// finds a wrong checksum.
    pub(super) fn leave_out(&mut self) -> io::Result<()> {
        let mut entry = self.close()?;
        entry.crc = !entry.crc;
        self.describe(&entry)
    }

    fn close(&mut self) -> io::Result<Entry> {
        self.squeeze(&[], FlushCompress::Finish)?;
        let Some(open) = self.open.take() else { return Err(refused("no file of an archive was begun")) };
        let small = |number: u64| {
            let fits = u32::try_from(number).ok().filter(|number| *number != ELSEWHERE);
            fits.ok_or_else(|| refused("a file of an archive is too large"))
        };
        Ok(Entry {
            name: open.name,
            offset: open.offset,
            crc: open.crc.sum(),
            squeezed: small(self.written.saturating_sub(open.begins))?,
            bytes: small(open.bytes)?,
        })
    }

    /// Writes what stands behind a file.
    fn describe(&mut self, entry: &Entry) -> io::Result<()> {
        let mut descriptor = Vec::with_capacity(16);
        for number in [0x0807_4b50, entry.crc, entry.squeezed, entry.bytes] {
            descriptor.extend(u32::to_le_bytes(number));
        }
        self.put(&descriptor)
    }

    fn squeeze(&mut self, mut bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            self.buffer.clear();
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(bytes, &mut self.buffer, flush).map_err(io::Error::other)?;
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            let is_full = self.buffer.len() == self.buffer.capacity();
            self.out.write_all(&self.buffer)?;
            self.written = self.written.saturating_add(self.buffer.len() as u64);
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => bytes.is_empty() && !is_full,
            };
            if is_done {
                return Ok(());
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Writes the directory, and returns what was written into. Without it there is no archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.open.is_some() {
            return Err(refused("a file of an archive was not ended"));
        }
        let begins = self.written;
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            let record = self.record(entry);
            self.put(&record)?;
        }
        let end = self.end_of_directory(entries.len() as u64, begins);
        self.put(&end)?;
        Ok(self.out)
    }

    fn record(&self, entry: &Entry) -> Vec<u8> {
        let is_far = entry.offset >= u64::from(ELSEWHERE);
        let (version, extra) = if is_far { (VERSION_ZIP64, 12_u16) } else { (VERSION_DEFLATE, 0) };
        let mut record = Vec::with_capacity(46 + entry.name.len() + usize::from(extra));
        record.extend(0x0201_4b50_u32.to_le_bytes());
        for number in [MADE_BY, version, FLAGS, METHOD, self.made.0, self.made.1] {
            record.extend(number.to_le_bytes());
        }
        for number in [entry.crc, entry.squeezed, entry.bytes] {
            record.extend(number.to_le_bytes());
        }
        // Its length was looked at when the file was begun. No comment, on the one disk, no inner attributes.
        for number in [u16::try_from(entry.name.len()).unwrap_or(u16::MAX), extra, 0, 0, 0] {
            record.extend(number.to_le_bytes());
        }
        record.extend(RIGHTS.to_le_bytes());
        record.extend(u32::try_from(entry.offset).unwrap_or(ELSEWHERE).to_le_bytes());
        record.extend(entry.name.as_bytes());
        if is_far {
            record.extend(1_u16.to_le_bytes());
            record.extend(8_u16.to_le_bytes());
            record.extend(entry.offset.to_le_bytes());
        }
        record
    }

    fn end_of_directory(&self, count: u64, begins: u64) -> Vec<u8> {
        let length = self.written.saturating_sub(begins);
        let mut end = Vec::with_capacity(98);
        let is_far = count >= u64::from(u16::MAX) || begins >= u64::from(ELSEWHERE) || length >= u64::from(ELSEWHERE);
        if is_far {
            end.extend(0x0606_4b50_u32.to_le_bytes());
            // What follows of this record.
            end.extend(44_u64.to_le_bytes());
            end.extend(MADE_BY.to_le_bytes());
            end.extend(VERSION_ZIP64.to_le_bytes());
            end.extend([0; 8]);
            for number in [count, count, length, begins] {
                end.extend(number.to_le_bytes());
            }
            end.extend(0x0706_4b50_u32.to_le_bytes());
            end.extend(0_u32.to_le_bytes());
            end.extend(self.written.to_le_bytes());
            end.extend(1_u32.to_le_bytes());
        }
        end.extend(0x0605_4b50_u32.to_le_bytes());
        end.extend([0; 4]);
        let few = u16::try_from(count).unwrap_or(u16::MAX);
        end.extend(few.to_le_bytes());
        end.extend(few.to_le_bytes());
        for number in [length, begins] {
            end.extend(u32::try_from(number).unwrap_or(ELSEWHERE).to_le_bytes());
        }
        end.extend([0; 2]);
        end
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    /// Makes an archive, as if `far` bytes of it had been written before.
    fn made(files: &[(&str, Vec<u8>, bool)], far: u64) -> Vec<u8> {
        let mut zip = ZipStream::new(Vec::new(), civil::datetime(2026, 2, 3, 4, 5, 6, 0));
        zip.written = far;
        for (name, bytes, is_whole) in files {
            zip.begin((*name).to_owned()).unwrap();
            for part in bytes.chunks(50_000) {
                zip.add(part).unwrap();
            }
            if *is_whole { zip.end().unwrap() } else { zip.leave_out().unwrap() }
        }
        zip.finish().unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[5]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn an_archive_holds_what_is_whole_to_the_byte_and_nothing_else() {
        let texts = [b"".to_vec(), b"hello".to_vec(), noise(300_000), vec![b'x'; 1_000_000], noise(65_536)];
        let files: Vec<(&str, Vec<u8>, bool)> = vec![
            ("empty", texts[0].clone(), true),
            ("left out", texts[1].clone(), false),
            ("d\u{ed}r/\u{e9}.eml", texts[2].clone(), true),
            ("same", texts[3].clone(), true),
            ("cut off", texts[4].clone(), false),
            ("last", texts[4].clone(), true),
        ];
        let bytes = made(&files, 0);
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        let whole: Vec<&(&str, Vec<u8>, bool)> = files.iter().filter(|(_, _, whole)| *whole).collect();
        assert_eq!(names, whole.iter().map(|(name, _, _)| *name).collect::<Vec<_>>());
        for (name, wanted, _) in whole {
            let mut found = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == *wanted, "{name}");
        }
    }

    #[test]
    fn what_is_left_out_is_not_whole_for_whoever_reads_front_to_back() {
        let mut crc = Crc::new();
        crc.update(b"hello");
        let told = |is_whole| {
            let bytes = made(&[("a", b"hello".to_vec(), is_whole)], 0);
            let sign = 0x0807_4b50_u32.to_le_bytes();
            let at = bytes.windows(4).position(|four| four == sign).unwrap();
            u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap())
        };
        assert_eq!((told(true), told(false)), (crc.sum(), !crc.sum()));
    }

    #[test]
    fn an_archive_without_its_end_is_none() {
        let bytes = made(&[("a", noise(1_000), true)], 0);
        assert!(zip::ZipArchive::new(Cursor::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn many_files_are_found_in_a_directory_of_the_large_kind() {
        let names: Vec<String> = (0..70_000).map(|number| number.to_string()).collect();
        let files: Vec<(&str, Vec<u8>, bool)> = names.iter().map(|name| (name.as_str(), Vec::new(), true)).collect();
        let archive = zip::ZipArchive::new(Cursor::new(made(&files, 0))).unwrap();
        assert_eq!(archive.len(), 70_000);
    }

    /// A file that reads as zeros before the archive: what 5 GiB of other files would be.
    struct Behind {
        bytes: Cursor<Vec<u8>>,
        far: u64,
        at: u64,
    }

    impl io::Read for Behind {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = match self.at.checked_sub(self.far) {
                Some(at) => {
                    self.bytes.set_position(at);
                    self.bytes.read(into)?
                }
                None => {
                    let zeros = usize::try_from(self.far - self.at).unwrap_or(usize::MAX).min(into.len());
                    into[..zeros].fill(0);
                    zeros
                }
            };
            self.at += read as u64;
            Ok(read)
        }
    }

    impl io::Seek for Behind {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            let end = self.far + self.bytes.get_ref().len() as u64;
            self.at = match to {
                io::SeekFrom::Start(at) => at,
                io::SeekFrom::End(by) => end.saturating_add_signed(by),
                io::SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            };
            Ok(self.at)
        }
    }

    #[test]
    fn what_stands_behind_four_gibibytes_is_found() {
        let far = 5 << 30;
        let bytes = Cursor::new(made(&[("a", noise(1_000), true), ("b", noise(10), true)], far));
        let mut archive = zip::ZipArchive::new(Behind { bytes, far, at: 0 }).unwrap();
        let mut found = Vec::new();
        archive.by_name("a").unwrap().read_to_end(&mut found).unwrap();
        assert!(found == noise(1_000) && archive.len() == 2);
    }
}
