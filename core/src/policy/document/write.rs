//! How documents are written: Markdown in which no text of a policy becomes markup, and CSV that no spreadsheet runs.

use crate::batch::write::push_row;
use crate::policy::{Policy, PolicySet};
use crate::table::spreadsheet_safe;

/// Returns text on one line, without anything that could steer a terminal.
fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced: String = text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns text as Markdown that shows it letter by letter, also within a cell of a table. An underscore within a word
/// stays as it is, because it means nothing there.
pub(super) fn escaped(text: &str) -> String {
    let text = plain(text);
    let mut safe = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let is_within = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        let is_markup = matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '$');
        if is_markup || (c == '_' && !is_within) {
            safe.push('\\');
        }
        safe.push(c);
        before = c;
    }
    safe
}

/// A Markdown document in the making. Headings and cells are escaped; paragraphs are our own words.
pub(super) struct Markdown(String);

impl Markdown {
    pub(super) fn titled(title: &str, before: &str) -> Self {
        Self(format!("# {title}\n\n{before}\n"))
    }

    pub(super) fn heading(&mut self, depth: usize, text: &str) {
        self.0.push_str(&format!("\n{} {}\n", "#".repeat(depth), escaped(text)));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!("\n{text}\n"));
    }

    pub(super) fn list(&mut self, items: impl IntoIterator<Item = String>) {
        self.0.push('\n');
        for item in items {
            self.0.push_str(&format!("* {}\n", escaped(&item)));
        }
    }

    pub(super) fn table<const N: usize>(&mut self, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        self.wide_table(&header.map(str::to_owned), rows.into_iter().map(Vec::from));
    }

    pub(super) fn wide_table(&mut self, header: &[String], rows: impl IntoIterator<Item = Vec<String>>) {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        self.0.push_str(&format!("\n{}|{}\n", line(header), "---|".repeat(header.len())));
        for row in rows {
            self.0.push_str(&line(&row));
        }
    }

    /// Names the policies that the document was made from, with their digests.
    pub(super) fn versions(&mut self, set: &PolicySet) {
        if !set.policies().is_empty() {
            self.heading(2, "Policies");
            let row = |policy: &Policy| [policy.id.clone(), policy.digest().to_string()];
            self.table(["policy", "digest"], set.policies().iter().map(|policy| row(policy)));
        }
    }

    /// Ends the document with the digest of the set that it was made from.
    pub(super) fn foot(mut self, set: &PolicySet) -> String {
        self.paragraph(&format!("Digest of the policy set: `{}`", set.digest()));
        self.0
    }
}

/// A CSV document in the making: columns of its own, then those that tell what the row was made from.
pub(super) struct Csv<'a, const N: usize> {
    file: Vec<u8>,
    set: &'a PolicySet,
}

impl<'a, const N: usize> Csv<'a, N> {
    pub(super) fn with_header(set: &'a PolicySet, header: [&str; N]) -> Self {
        let mut file = Vec::new();
        push_row(&mut file, header.into_iter().chain(["policy_digest", "policy_set_digest"]));
        Self { file, set }
    }

    pub(super) fn row(&mut self, policy: &Policy, cells: [String; N]) {
        let digests = [policy.digest().to_string(), self.set.digest().to_string()];
        let safe = |cell: String| spreadsheet_safe(&plain(&cell)).into_owned();
        let cells: Vec<String> = cells.into_iter().chain(digests).map(safe).collect();
        push_row(&mut self.file, cells.iter().map(String::as_str));
    }

    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(&self.file).into_owned()
    }
}
