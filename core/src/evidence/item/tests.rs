use proptest::prelude::*;

use super::*;
use crate::record::{Column, FieldType};

fn any_layout() -> impl Strategy<Value = Layout> {
    let field_type = prop::sample::select(vec![
        FieldType::Text,
        FieldType::List,
        FieldType::Number,
        FieldType::Money,
        FieldType::Boolean,
        FieldType::Date,
    ]);
    let column = (any::<String>(), any::<String>(), field_type).prop_map(|(name, field, field_type)| Column {
        name,
        field,
        field_type,
    });
    (
        any::<String>(),
        prop::sample::select(Kind::ALL.to_vec()),
        prop::collection::vec(column, 0..6),
        prop::collection::vec(any::<String>(), 0..3),
    )
        .prop_map(|(source, kind, columns, named_dates)| Layout { source, kind, columns, named_dates })
}

fn any_record() -> impl Strategy<Value = EntityRecord> {
    let role = prop_oneof![
        prop::sample::select(vec![
            DateRole::Created,
            DateRole::Modified,
            DateRole::LastActivity,
            DateRole::Closed,
            DateRole::ContractEnd,
            DateRole::Received,
            DateRole::Occurred,
            DateRole::Deadline,
            DateRole::Granted,
        ]),
        any::<u16>().prop_map(DateRole::Named),
    ];
    let link = (any::<bool>(), prop::sample::select(Kind::ALL.to_vec()), any::<String>()).prop_map(
        |(about, kind, external_id)| SourceLink {
            relation: if about { Relation::About } else { Relation::Associated },
            kind,
            external_id,
        },
    );
    let cell = prop_oneof![
        Just(None),
        Just(Some(String::new())),
        Just(Some(" ".to_owned())),
        any::<String>().prop_map(Some),
        "[\"\\\\\r\n\t|=']{0,6}".prop_map(Some),
    ];
    let visibility = prop::sample::select(vec![Visibility::Unknown, Visibility::Private, Visibility::Shared]);
    let at = prop_oneof![any::<i64>(), -4_000_000_000_000_000..4_000_000_000_000_000i64];
    (
        any::<u32>(),
        prop::option::of(any::<u32>()),
        visibility,
        any::<String>(),
        prop::collection::vec(any::<String>(), 0..3),
        prop::collection::vec((role, at.prop_map(Timestamp)), 0..4),
        prop::collection::vec(link, 0..3),
        prop::collection::vec(cell, 0..8),
    )
        .prop_map(|(layout, mailbox, visibility, external_id, other_ids, dates, links, cells)| EntityRecord {
            layout: LayoutId(layout),
            mailbox: mailbox.map(EntityId),
            visibility,
            external_id,
            other_ids,
            dates,
            links,
            cells: cells.iter().map(Option::as_deref).collect(),
        })
}

fn line_of(layout: &ExportLayout, record: &EntityRecord, entity: u32, version: u64) -> Vec<u8> {
    let mut line = Vec::new();
    ExportItem { entity: EntityId(entity), version: Position(version), layout, record }.canonical_line(&mut line);
    line
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(
        layout in any_layout(), record in any_record(), entity in any::<u32>(), version in any::<u64>()
    ) {
        let layout = ExportLayout::of(layout);
        let line = line_of(&layout, &record, entity, version);
        prop_assert!(!line.contains(&b'\n'));
        let parsed = ParsedItem::parse_line(&line).unwrap();
        prop_assert_eq!(parsed.entity, EntityId(entity));
        prop_assert_eq!(parsed.version, Position(version));
        prop_assert_eq!(parsed.kind, layout.layout().kind);
        prop_assert_eq!(&parsed.source, &layout.layout().source);
        prop_assert_eq!(parsed.layout, layout.digest());
        prop_assert!(parsed.record == record);

        let head = ItemHead::parse(&line).unwrap();
        prop_assert_eq!((head.entity, head.version, head.kind), (parsed.entity, parsed.version, parsed.kind));
        prop_assert_eq!(head.source, text_as_written(&parsed.source));
        prop_assert_eq!(head.layout, parsed.layout);

        let mut layout_line = Vec::new();
        layout.canonical_line(&mut layout_line);
        prop_assert_eq!(ExportLayout::parse_line(&layout_line).unwrap(), layout);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ParsedItem::parse_line(&bytes);
        let _ = ExportLayout::parse_line(&bytes);
        let _ = ItemHead::parse(&bytes);
    }

    #[test]
    fn a_head_is_read_only_where_the_line_begins_as_an_export_writes_it(
        layout in any_layout(), record in any_record(), entity in any::<u32>(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let layout = ExportLayout::of(layout);
        let mut line = line_of(&layout, &record, entity, 2);
        let at = at.index(line.len());
        line[at] = byte;
        if let Ok(head) = ItemHead::parse(&line) {
            let mut again = Vec::new();
            again.extend_from_slice(format!("{{\"entity\":\"{}\",\"version\":{},", head.entity, head.version.0).as_bytes());
            again.extend_from_slice(format!("\"kind\":\"{}\",\"source\":\"", head.kind).as_bytes());
            again.extend_from_slice(head.source);
            prop_assert!(line.starts_with(&again));
        }
    }

    #[test]
    fn a_changed_line_is_refused_or_read_as_something_else(
        layout in any_layout(), record in any_record(), at in any::<prop::sample::Index>(), flip in 1..=255u8
    ) {
        let line = line_of(&ExportLayout::of(layout), &record, 1, 2);
        let mut changed = line.clone();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        let _ = ParsedItem::parse_line(&changed);
        prop_assert_ne!(Digest::of(&line), Digest::of(&changed));
    }
}

#[test]
fn the_line_of_a_known_item_has_exactly_these_bytes() {
    let layout = ExportLayout::of(Layout {
        source: "ocm".to_owned(),
        kind: Kind::Contact,
        columns: vec![Column { name: "A".to_owned(), field: "notes".to_owned(), field_type: FieldType::Text }],
        named_dates: Vec::new(),
    });
    let record = EntityRecord {
        layout: LayoutId(3),
        mailbox: Some(EntityId(7)),
        visibility: Visibility::Private,
        external_id: "x".to_owned(),
        other_ids: Vec::new(),
        dates: vec![(DateRole::Created, Timestamp::from_unix_seconds(0)), (DateRole::Named(2), Timestamp(i64::MAX))],
        links: vec![SourceLink { relation: Relation::About, kind: Kind::Deal, external_id: "d".to_owned() }],
        cells: [Some("a\"\n\u{1}é"), None, Some("")].into_iter().collect(),
    };
    let expected = format!(
        concat!(
            r#"{{"entity":"E1","version":5,"kind":"contact","source":"ocm","layout":3,"layout_sha256":"{}","#,
            r#""mailbox":"E7","visibility":"private","external_id":"x","other_ids":[],"#,
            r#""dates":[{{"role":"created","at":"1970-01-01T00:00:00Z"}},{{"role":"named:2","at":9223372036854775807}}],"#,
            r#""links":[{{"relation":"about","kind":"deal","external_id":"d"}}],"cells":["a\"\n\u0001é",null,""]}}"#
        ),
        layout.digest()
    );
    assert_eq!(String::from_utf8(line_of(&layout, &record, 1, 5)).unwrap(), expected);
}
