//! One exported item as one canonical line: complete, lossless, and the same bytes whoever makes it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::json::{push_array, push_hex, push_name, push_number, push_text, push_whole};
use crate::id::{Digest, EntityId, LayoutId, Position};
use crate::record::{Cells, DateRole, EntityRecord, Kind, Layout, Relation, SourceLink, Visibility};
use crate::time::Timestamp;

/// The longest line that is read back: 256 MiB, far above any row that intake takes.
pub const ITEM_LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A layout together with the digest under which item lines name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportLayout {
    layout: Layout,
    digest: Digest,
}

impl ExportLayout {
    /// Names a layout by the SHA-256 of its canonical line.
    #[must_use]
    pub fn of(layout: Layout) -> Self {
        let mut line = Vec::new();
        push_layout(&mut line, &layout);
        Self { digest: Digest::of(&line), layout }
    }

    /// Returns the layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the SHA-256 of [`Self::canonical_line`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Appends the layout as one JSON object, without a line end.
    pub fn canonical_line(&self, out: &mut Vec<u8>) {
        push_layout(out, &self.layout);
    }

    /// Reads a line that [`Self::canonical_line`] wrote.
    ///
    /// # Errors
    /// Says where the line is no layout, or not in canonical form.
    pub fn parse_line(line: &[u8]) -> Result<Self, ItemLineError> {
        let layout: Layout = serde_json::from_slice(line).map_err(|error| ItemLineError::of(&error))?;
        let named = Self::of(layout);
        if named.digest == Digest::of(line) { Ok(named) } else { Err(ItemLineError::NotCanonical) }
    }
}

fn push_layout(out: &mut Vec<u8>, layout: &Layout) {
    out.push(b'{');
    push_name(out, "source");
    push_text(out, &layout.source);
    push_name(out, "kind");
    push_text(out, layout.kind.name());
    push_name(out, "columns");
    push_array(out, &layout.columns, |out, column| {
        out.push(b'{');
        push_name(out, "name");
        push_text(out, &column.name);
        push_name(out, "field");
        push_text(out, &column.field);
        push_name(out, "field_type");
        push_text(out, column.field_type.name());
        out.push(b'}');
    });
    push_name(out, "named_dates");
    push_array(out, &layout.named_dates, |out, name| push_text(out, name));
    out.push(b'}');
}

/// One entity on its way into a bundle.
#[derive(Debug, Clone, Copy)]
pub struct ExportItem<'a> {
    /// The entity.
    pub entity: EntityId,
    /// The position of the change that brought it into this state.
    pub version: Position,
    /// The layout that `record.layout` names.
    pub layout: &'a ExportLayout,
    /// Its state.
    pub record: &'a EntityRecord,
}

/// What the log says must be in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedItem {
    /// The entity.
    pub entity: EntityId,
    /// The position of the change that brought it into this state.
    pub version: Position,
    /// The SHA-256 of its canonical line.
    pub digest: Digest,
}

impl ExportItem<'_> {
    /// Appends the item as one JSON object, without a line end. Equal items make equal bytes.
    pub fn canonical_line(&self, out: &mut Vec<u8>) {
        let (layout, record) = (self.layout.layout(), self.record);
        out.extend_from_slice(b"{\"entity\":\"E");
        push_whole(out, u64::from(self.entity.0));
        out.push(b'"');
        push_name(out, "version");
        push_whole(out, self.version.0);
        push_name(out, "kind");
        push_text(out, layout.kind.name());
        push_name(out, "source");
        push_text(out, &layout.source);
        push_name(out, "layout");
        push_whole(out, u64::from(record.layout.0));
        push_name(out, "layout_sha256");
        push_hex(out, &self.layout.digest.0);
        push_name(out, "mailbox");
        match record.mailbox {
            Some(mailbox) => {
                out.extend_from_slice(b"\"E");
                push_whole(out, u64::from(mailbox.0));
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        push_name(out, "visibility");
        push_text(out, visibility_name(record.visibility));
        push_name(out, "external_id");
        push_text(out, &record.external_id);
        push_name(out, "other_ids");
        push_array(out, &record.other_ids, |out, id| push_text(out, id));
        push_name(out, "dates");
        push_array(out, &record.dates, |out, &(role, at)| push_date(out, role, at));
        push_name(out, "links");
        push_array(out, &record.links, push_link);
        push_name(out, "cells");
        push_array(out, record.cells.iter(), |out, cell| match cell {
            Some(text) => push_text(out, text),
            None => out.extend_from_slice(b"null"),
        });
        out.push(b'}');
    }

    /// Makes the canonical line with its digest, once for everything that needs them.
    #[must_use]
    pub fn line(&self) -> ItemLine {
        let text: usize = self.record.cells.iter().flatten().map(|cell| cell.len() + CELL_BYTES_AROUND).sum();
        let mut bytes = Vec::with_capacity(LINE_BYTES_AROUND + text);
        self.canonical_line(&mut bytes);
        let expected = ExpectedItem { entity: self.entity, version: self.version, digest: Digest::of(&bytes) };
        ItemLine { bytes, expected }
    }
}

/// What a line usually takes beside its cells, and a cell beside its text, in bytes: only to save allocations.
const LINE_BYTES_AROUND: usize = 512;
const CELL_BYTES_AROUND: usize = 3;

/// The canonical line of one item.
///
/// **Invariant:** line and digest are of each other. It is made of what the log says, never of what lies on disk.
/// Personal data: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ItemLine {
    bytes: Vec<u8>,
    expected: ExpectedItem,
}

impl ItemLine {
    /// Returns the line, without a line end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what a bundle must hold for the item.
    #[must_use]
    pub fn expected(&self) -> ExpectedItem {
        self.expected
    }
}

impl ExpectedItem {
    /// Appends the line that lists this item beside the manifest, without a line end.
    pub fn canonical_line(&self, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"entity\":\"E");
        push_whole(out, u64::from(self.entity.0));
        out.extend_from_slice(b"\",\"version\":");
        push_whole(out, self.version.0);
        push_name(out, "kind");
        push_text(out, kind.name());
        push_name(out, "sha256");
        push_hex(out, &self.digest.0);
        out.push(b'}');
    }

    /// Reads a line that [`Self::canonical_line`] wrote, in exactly its form; `None` of any other.
    #[must_use]
    pub fn parse_line(line: &[u8]) -> Option<(Self, Kind)> {
        let ListedAsWritten { entity, version, kind, sha256 } = serde_json::from_slice(line).ok()?;
        let item = Self { entity, version, digest: sha256 };
        let mut canonical = Vec::with_capacity(line.len());
        item.canonical_line(kind, &mut canonical);
        (canonical == line).then_some((item, kind))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedAsWritten {
    entity: EntityId,
    version: Position,
    kind: Kind,
    sha256: Digest,
}

fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Unknown => "unknown",
        Visibility::Private => "private",
        Visibility::Shared => "shared",
    }
}

/// An instant that RFC 3339 can express is text; any other is its number of microseconds, so that none is lost.
fn push_date(out: &mut Vec<u8>, role: DateRole, at: Timestamp) {
    out.extend_from_slice(b"{\"role\":\"");
    match (role.name(), role) {
        (Some(name), _) => out.extend_from_slice(name.as_bytes()),
        (None, DateRole::Named(number)) => {
            out.extend_from_slice(b"named:");
            push_number(out, number);
        }
        (None, _) => {}
    }
    out.extend_from_slice(b"\",\"at\":");
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(instant) => {
            out.push(b'"');
            push_number(out, instant);
            out.push(b'"');
        }
        Err(_) => push_number(out, at.0),
    }
    out.push(b'}');
}

fn role_of(name: &str) -> Option<DateRole> {
    let known = DateRole::NAMES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role);
    known.or_else(|| Some(DateRole::Named(name.strip_prefix("named:")?.parse().ok()?)))
}

fn push_link(out: &mut Vec<u8>, link: &SourceLink) {
    out.extend_from_slice(b"{\"relation\":");
    push_text(
        out,
        match link.relation {
            Relation::Associated => "associated",
            Relation::About => "about",
        },
    );
    push_name(out, "kind");
    push_text(out, link.kind.name());
    push_name(out, "external_id");
    push_text(out, &link.external_id);
    out.push(b'}');
}

/// A line of a bundle could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemLineError {
    /// It is not the JSON object that an export writes.
    #[error("not an exported line: unreadable at column {column}")]
    NotALine {
        /// The column, counted in bytes from 1.
        column: usize,
    },
    /// It says the same in other bytes than an export writes.
    #[error("not an exported line: the bytes are not in canonical form")]
    NotCanonical,
}

impl ItemLineError {
    fn of(error: &serde_json::Error) -> Self {
        Self::NotALine { column: error.column() }
    }
}

/// One line, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedItem {
    /// The entity.
    pub entity: EntityId,
    /// The position of the change that brought it into this state.
    pub version: Position,
    /// What it is.
    pub kind: Kind,
    /// The name of its source.
    pub source: String,
    /// The digest of its layout, whose line stands in the same bundle.
    pub layout: Digest,
    /// Its state.
    pub record: EntityRecord,
}

/// The beginning of a line: which item it is, without its content.
///
/// It is enough where the digest of the whole line is known: then the content is what the digest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemHead<'a> {
    /// The entity.
    pub entity: EntityId,
    /// The position of the change that brought it into this state.
    pub version: Position,
    /// What it is.
    pub kind: Kind,
    /// The name of its source, as it stands in the line: JSON text with its escapes, without its quotes.
    pub source: &'a [u8],
    /// The digest of its layout, whose line stands in the same bundle.
    pub layout: Digest,
}

impl<'a> ItemHead<'a> {
    /// Reads the beginning of a line that [`ExportItem::canonical_line`] wrote, in exactly its form.
    ///
    /// # Errors
    /// When the line does not begin so.
    pub fn parse(line: &'a [u8]) -> Result<Self, ItemLineError> {
        Self::read(line).ok_or(ItemLineError::NotCanonical)
    }

    fn read(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"entity\":\"E")?;
        let (entity, rest) = split_at_byte(rest, b'"')?;
        let (version, rest) = split_at_byte(rest.strip_prefix(b",\"version\":")?, b',')?;
        let (kind, rest) = split_at_byte(rest.strip_prefix(b"\"kind\":\"")?, b'"')?;
        let (source, rest) = split_text(rest.strip_prefix(b",\"source\":\"")?)?;
        let (_, rest) = split_at_byte(rest.strip_prefix(b",\"layout\":")?, b',')?;
        let (layout, _) = split_at_byte(rest.strip_prefix(b"\"layout_sha256\":\"")?, b'"')?;
        let mut digest = [0; 32];
        hex::decode_to_slice(layout, &mut digest).ok()?;
        Some(Self {
            entity: EntityId(u32::try_from(whole_number(entity)?).ok()?),
            version: Position(whole_number(version)?),
            kind: Kind::from_name(std::str::from_utf8(kind).ok()?)?,
            source,
            layout: Digest(digest),
        })
    }
}

/// Returns a text as it stands in a line, without its quotes.
#[must_use]
pub fn text_as_written(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + CELL_BYTES_AROUND);
    push_text(&mut out, text);
    out.pop();
    out.drain(..1);
    out
}

fn split_at_byte(bytes: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == end)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Splits after the text of a JSON string whose opening quote was read.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some((bytes.get(..at)?, bytes.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Reads digits as [`push_number`] writes them.
fn whole_number(digits: &[u8]) -> Option<u64> {
    let is_canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
    let number = digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })?;
    is_canonical.then_some(number)
}

impl ParsedItem {
    /// Reads a line that [`ExportItem::canonical_line`] wrote, without its line end.
    ///
    /// # Errors
    /// Says where the line cannot be read; never what stands there.
    pub fn parse_line(line: &[u8]) -> Result<Self, ItemLineError> {
        let written: ItemAsWritten<'_> = serde_json::from_slice(line).map_err(|error| ItemLineError::of(&error))?;
        Ok(Self {
            entity: written.entity,
            version: written.version,
            kind: written.kind,
            source: written.source.into_owned(),
            layout: written.layout_sha256,
            record: EntityRecord {
                layout: written.layout,
                mailbox: written.mailbox,
                visibility: written.visibility,
                external_id: written.external_id,
                other_ids: written.other_ids,
                dates: written.dates.into_iter().map(|date| (date.role.0, date.at.0)).collect(),
                links: written.links.into_iter().map(LinkAsWritten::into_link).collect(),
                cells: written.cells.0,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemAsWritten<'a> {
    entity: EntityId,
    version: Position,
    kind: Kind,
    #[serde(borrow)]
    source: Cow<'a, str>,
    layout: LayoutId,
    layout_sha256: Digest,
    mailbox: Option<EntityId>,
    visibility: Visibility,
    external_id: String,
    other_ids: Vec<String>,
    dates: Vec<DateAsWritten>,
    links: Vec<LinkAsWritten>,
    cells: CellsAsWritten,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DateAsWritten {
    role: RoleAsWritten,
    at: InstantAsWritten,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkAsWritten {
    relation: Relation,
    kind: Kind,
    external_id: String,
}

impl LinkAsWritten {
    fn into_link(self) -> SourceLink {
        SourceLink { relation: self.relation, kind: self.kind, external_id: self.external_id }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Cow<'_, str>")]
struct RoleAsWritten(DateRole);

impl TryFrom<Cow<'_, str>> for RoleAsWritten {
    type Error = &'static str;

    fn try_from(name: Cow<'_, str>) -> Result<Self, Self::Error> {
        role_of(&name).map(Self).ok_or("not a date role")
    }
}

struct InstantAsWritten(Timestamp);

impl<'de> Deserialize<'de> for InstantAsWritten {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an instant")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(|_| E::custom("not an instant"))
            }

            fn visit_i64<E: de::Error>(self, micros: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(micros))
            }

            fn visit_u64<E: de::Error>(self, micros: u64) -> Result<Timestamp, E> {
                i64::try_from(micros).map(Timestamp).map_err(|_| E::custom("not an instant"))
            }
        }
        deserializer.deserialize_any(AsText).map(Self)
    }
}

/// Reads cells straight into the row, without a string for each.
struct CellsAsWritten(Cells);

impl<'de> Deserialize<'de> for CellsAsWritten {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of cells")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cells, A::Error> {
                let mut cells = Cells::default();
                while seq.next_element_seed(PushCell(&mut cells))?.is_some() {}
                Ok(cells)
            }
        }
        deserializer.deserialize_seq(Row).map(Self)
    }
}

struct PushCell<'a>(&'a mut Cells);

impl<'de> DeserializeSeed<'de> for PushCell<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for PushCell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or null")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(Some(text)).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.push(None).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests;
