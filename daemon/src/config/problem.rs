//! What is wrong with a configuration file, all of it at once.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1; 0 when it concerns the whole file.
    pub line: usize,
    /// The column in characters, from 1; 0 when it concerns the whole file.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// A configuration that cannot be used. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// At least one problem, in the order of the file.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.line {
                0 => write!(f, "{}: {}", self.file, problem.message)?,
                line => write!(f, "{}:{line}:{}: {}", self.file, problem.column, problem.message)?,
            }
        }
        Ok(())
    }
}

impl ConfigError {
    /// A problem of the whole file.
    pub(crate) fn of_file(path: &Path, message: String) -> Self {
        let file = path.display().to_string();
        Self { file, problems: vec![Problem { line: 0, column: 0, message }] }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::of_file(path, format!("cannot be read: {error}; name another file with --config"))
    }

    pub(super) fn too_large(path: &Path) -> Self {
        Self::of_file(path, format!("is larger than {} bytes, so it is not a configuration", super::CONFIG_BYTES_MAX))
    }
}

/// Collects problems while the check goes on.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
        self.found.push(Problem { line, column, message: message.into() });
    }

    pub(super) fn add_to_file(&mut self, message: impl Into<String>) {
        self.found.push(Problem { line: 0, column: 0, message: message.into() });
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns the value when nothing was found.
    pub(super) fn or<T>(mut self, path: &Path, value: Option<T>) -> Result<T, ConfigError> {
        self.found.sort();
        self.found.dedup();
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                if self.found.is_empty() {
                    self.add_to_file("is not complete");
                }
                Err(ConfigError { file: path.display().to_string(), problems: self.found })
            }
        }
    }
}
