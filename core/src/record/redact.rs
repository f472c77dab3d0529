//! Redaction: which cells of a row are taken out, and what stands in their place.
//!
//! **Invariant:** redacting twice is redacting once. So what was redacted is recognised by looking at it, and a row
//! that its source tells again, whole, becomes the very record that is known: nothing that was taken out comes back.

use std::fmt;

use bincode::{Decode, Encode};

use super::field::CUSTOM_PREFIX;
use super::{Cells, EntityRecord, FieldType, Layout};

/// Names all fields that a source adds to the standard ones, as far as they are not named themselves.
pub const ALL_CUSTOM: &str = "custom.*";

/// What becomes of a field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Treatment {
    /// It stays, although `custom.*` would take it out.
    Kept,
    /// It is taken out: nothing stands in its place.
    Removed,
    /// It is taken out, and a fixed text stands in its place.
    Replaced(String),
}

/// The text is an operator's and may name somebody.
impl fmt::Debug for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "Kept",
            Self::Removed => "Removed",
            Self::Replaced(_) => "Replaced",
        })
    }
}

/// What becomes of the fields of a record; those that are not named stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct FieldMap(Vec<(String, Treatment)>);

impl FieldMap {
    /// Makes a map; of two entries for one field the first counts.
    #[must_use]
    pub fn new(mut fields: Vec<(String, Treatment)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields.dedup_by(|later, first| later.0 == first.0);
        Self(fields)
    }

    /// Goes through the fields, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Treatment)> {
        self.0.iter().map(|(field, treatment)| (field.as_str(), treatment))
    }

    /// Says whether nothing is taken out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, treatment)| *treatment == Treatment::Kept)
    }

    /// Returns what becomes of a field.
    #[must_use]
    pub fn treatment(&self, field: &str) -> &Treatment {
        let of = |name: &str| {
            let index = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
            self.0.get(index).map(|(_, treatment)| treatment)
        };
        let all_custom = || field.starts_with(CUSTOM_PREFIX).then(|| of(ALL_CUSTOM)).flatten();
        of(field).or_else(all_custom).unwrap_or(&Treatment::Kept)
    }

    /// Says whether this takes out everything that another map does, in the same way: it can stand in its place.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let names = self.0.iter().chain(&other.0).map(|(field, _)| field.as_str());
        names.into_iter().all(|field| {
            let own = self.treatment(field);
            *own == Treatment::Kept || own == other.treatment(field)
        })
    }

    /// Returns the column and its field that cannot be redacted in a layout: a text in the place of a number, of a date
    /// or of a truth value could not be read by the policies that look at it.
    #[must_use]
    pub fn unfit(&self, layout: &Layout) -> Option<usize> {
        layout.columns.iter().position(|column| {
            let is_text = matches!(column.field_type, FieldType::Text | FieldType::List);
            !is_text && matches!(self.treatment(&column.field), Treatment::Replaced(_))
        })
    }

    /// Returns the column of a record that would be taken out although it holds an id of the record: the id stays with
    /// the record, so the redaction would be none.
    #[must_use]
    pub fn identifying(&self, layout: &Layout, record: &EntityRecord) -> Option<usize> {
        layout.columns.iter().zip(record.cells.iter()).position(|(column, cell)| {
            let is_id = |text: &str| {
                let parts = || text.split('|').map(str::trim).filter(|part| !part.is_empty());
                parts().any(|part| part == record.external_id || record.other_ids.iter().any(|id| id == part))
                    || text == record.external_id
            };
            *self.treatment(&column.field) != Treatment::Kept && cell.is_some_and(is_id)
        })
    }

    /// Says whether anything of a row would be taken out.
    #[must_use]
    pub fn changes(&self, layout: &Layout, cells: &Cells) -> bool {
        let columns = layout.columns.iter().map(|column| self.treatment(&column.field));
        columns.zip(cells.iter()).any(|(treatment, cell)| redacted(treatment, cell) != cell)
    }

    /// Returns a row without what is taken out.
    #[must_use]
    pub fn apply(&self, layout: &Layout, cells: &Cells) -> Cells {
        let columns = layout.columns.iter().map(|column| self.treatment(&column.field));
        columns
            .chain(std::iter::repeat(&Treatment::Kept))
            .zip(cells.iter())
            .map(|(how, cell)| redacted(how, cell))
            .collect()
    }
}

/// What is empty holds nothing that could be taken out, and stays as it is.
fn redacted<'a>(treatment: &'a Treatment, cell: Option<&'a str>) -> Option<&'a str> {
    match (treatment, cell) {
        (Treatment::Kept, _) | (_, None | Some("")) => cell,
        (Treatment::Removed, Some(_)) => None,
        (Treatment::Replaced(text), Some(_)) => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::LayoutId;
    use crate::record::{Column, Kind, Visibility};

    fn layout(fields: &[&str]) -> Layout {
        let column = |field: &&str| Column {
            name: (*field).to_owned(),
            field: (*field).to_owned(),
            field_type: FieldType::Text,
        };
        Layout {
            source: "crm".into(),
            kind: Kind::Deal,
            columns: fields.iter().map(column).collect(),
            named_dates: Vec::new(),
        }
    }

    fn map(fields: &[(&str, Treatment)]) -> FieldMap {
        FieldMap::new(fields.iter().map(|(field, treatment)| ((*field).to_owned(), treatment.clone())).collect())
    }

    #[test]
    fn named_fields_go_and_the_others_stay() {
        let layout = layout(&["owner", "name", "custom.a", "custom.b", "amount"]);
        let map = map(&[
            ("owner", Treatment::Replaced("somebody".into())),
            ("name", Treatment::Removed),
            (ALL_CUSTOM, Treatment::Removed),
            ("custom.b", Treatment::Kept),
        ]);
        let cells: Cells = ["Ann", "Deal with Bob", "x", "y", "5"].into_iter().map(Some).collect();
        let expected: Cells = [Some("somebody"), None, None, Some("y"), Some("5")].into_iter().collect();
        assert!(map.changes(&layout, &cells));
        assert_eq!(map.apply(&layout, &cells), expected);
        assert!(!map.changes(&layout, &expected));
    }

    #[test]
    fn a_cell_that_holds_an_id_of_the_record_is_found() {
        let layout = layout(&["name", "email"]);
        let record = EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: "ann@example.org".into(),
            other_ids: vec!["ann@example.net".into()],
            dates: Vec::new(),
            links: Vec::new(),
            cells: [Some("Ann"), Some("x@example.org|ann@example.net")].into_iter().collect(),
        };
        let removed = |field| map(&[(field, Treatment::Removed)]);
        assert_eq!(removed("email").identifying(&layout, &record), Some(1));
        assert_eq!(removed("name").identifying(&layout, &record), None);
    }

    fn treatments() -> impl Strategy<Value = FieldMap> {
        let treatment =
            prop_oneof![Just(Treatment::Kept), Just(Treatment::Removed), "[a-z]{0,3}".prop_map(Treatment::Replaced)];
        prop::collection::vec((prop::sample::select(vec!["a", "b", "custom.c", ALL_CUSTOM]), treatment), 0..5)
            .prop_map(|fields| FieldMap::new(fields.into_iter().map(|(name, how)| (name.to_owned(), how)).collect()))
    }

    proptest! {
        #[test]
        fn redacting_twice_is_redacting_once(
            map in treatments(), cells in prop::collection::vec(prop::option::of("[a-z ]{0,3}"), 0..6)
        ) {
            let layout = layout(&["a", "b", "custom.c", "custom.d"]);
            let cells: Cells = cells.iter().map(|cell| cell.as_deref()).collect();
            let once = map.apply(&layout, &cells);
            prop_assert_eq!(once.len(), cells.len());
            prop_assert_eq!(map.changes(&layout, &cells), once != cells);
            prop_assert!(!map.changes(&layout, &once));
            prop_assert_eq!(&map.apply(&layout, &once), &once);
        }
    }
}
