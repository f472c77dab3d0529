//! Files and directories that somebody dropped: found, claimed, and read into typed rows.
//!
//! Nothing here follows a symbolic link, trusts a size, or holds a whole file in memory.

use std::path::Path;

use super::change::Feed;
use super::rejection::FileError;

// Safe opening, limits, and the digest of content.
pub mod claimed;
// Rows of delimited text through a mapping.
pub mod csv_file;
// Reading times and dates of other people.
pub mod date;
// Whether dates have their day first.
mod day_order;
// Mapping files: which column fills which field.
pub mod mapping;
// Outlook Customer Manager export directories.
pub mod ocm;
// What a read did, for people and programs.
pub mod report;
// What lies in a drop folder, and whether it still moves.
pub mod scan;
// Typed rows by a mapping.
mod typed;
// Rows of a workbook through a mapping.
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
            Shape::File if self.ocm.is_some() && self.mappings.is_empty() => Err(FileError::NotADirectory),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_the_reader_and_what_nobody_named_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let export = "ada@contoso.com_20200302T0915301234";
        for directory in [export, "other"] {
            std::fs::create_dir(path(directory)).unwrap();
        }
        for file in ["a.csv", "a.xlsx", "b.pdf"] {
            std::fs::write(path(file), "Id\n1\n").unwrap();
        }
        std::os::unix::fs::symlink(path("a.csv"), path("link.csv")).unwrap();
        let mapping =
            "schema = 1\nkind = \"contact\"\nfiles = [\"*.csv\", \"*.xlsx\"]\ncontent = \"delta\"\nid = [\"Id\"]\n";
        let mut spec = SourceSpec {
            name: "crm".to_owned(),
            ocm: Some(OcmSpec::default()),
            mappings: vec![Mapping::parse(mapping).unwrap()],
            limits: Limits::default(),
        };
        let read = |spec: &SourceSpec, name: &str| {
            spec.feed(&path(name)).and_then(|mut feed| feed.read(&mut |_| std::ops::ControlFlow::Continue(())))
        };
        assert_eq!(read(&spec, "a.csv").map(|summary| summary.rows), Ok(1));
        assert_eq!(read(&spec, "a.xlsx"), Err(FileError::WorkbookBroken));
        assert_eq!(read(&spec, "b.pdf"), Err(FileError::NoMapping));
        assert_eq!(read(&spec, "other"), Err(FileError::NoMapping));
        assert_eq!(read(&spec, "link.csv"), Err(FileError::Symlink));
        assert_eq!(read(&spec, "gone.csv"), Err(FileError::Vanished));
        assert_eq!(read(&spec, export), Err(FileError::NoExportFile), "an export without a single known file");
        spec.ocm = None;
        assert_eq!(read(&spec, export), Err(FileError::NoMapping));
    }
}
