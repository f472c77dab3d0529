//! Files and directories that somebody dropped: found, claimed, and read into typed rows.
//!
//! Nothing here follows a symbolic link, trusts a size, or holds a whole file in memory.

use std::path::Path;

use super::change::Feed;
use super::rejection::FileError;

/// Safe opening, limits, and the digest of content.
pub mod claimed;
/// Rows of delimited text through a mapping.
pub mod csv_file;
/// Reading times and dates of other people.
pub mod date;
/// Mapping files: which column fills which field.
pub mod mapping;
/// Outlook Customer Manager export directories.
pub mod ocm;
/// What a read did, for people and programs.
pub mod report;
/// What lies in a drop folder, and whether it still moves.
pub mod scan;
/// Rows of delimited text, with null told from empty.
pub mod table;
/// Encodings, never guessed in silence.
pub mod text;
/// Typed rows by a mapping.
mod typed;
/// Rows of a workbook through a mapping.
pub mod xlsx_file;

use claimed::{Limits, Shape};
use mapping::Mapping;
use ocm::OcmSpec;

/// How the things dropped into one folder are to be read.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The name of the source in the configuration; a mapping may name another.
    pub name: String,
    /// How export directories are read; none refuses them.
    pub ocm: Option<OcmSpec>,
    /// The mappings, of which the first whose pattern fits the name of a file is used.
    pub mappings: Vec<Mapping>,
    /// What a file may cost.
    pub limits: Limits,
}

impl SourceSpec {
    /// Returns the reader of a claimed file or directory, by its name alone.
    ///
    /// # Errors
    /// Says that no mapping fits, or that the path is of a kind that is never read.
    pub fn feed<'a>(&'a self, path: &'a Path) -> Result<Box<dyn Feed + 'a>, FileError> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(FileError::NoMapping)?;
        match claimed::shape(path)? {
            Shape::Directory => {
                let (spec, name) =
                    self.ocm.as_ref().zip(ocm::DirectoryName::parse(name)).ok_or(FileError::NoMapping)?;
                Ok(Box::new(ocm::OcmFeed::over(&self.name, spec, &self.limits, path, &name)))
            }
            Shape::File => {
                let mapping = self.mappings.iter().find(|mapping| mapping.fits(name)).ok_or(FileError::NoMapping)?;
                let source = mapping.source.as_deref().unwrap_or(&self.name);
                if name.to_ascii_lowercase().ends_with(".xlsx") {
                    return Ok(Box::new(xlsx_file::XlsxFeed { source, mapping, limits: &self.limits, path }));
                }
                Ok(Box::new(csv_file::CsvFeed { source, mapping, limits: &self.limits, path }))
            }
        }
    }
}
