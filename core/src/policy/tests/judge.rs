//! One policy against one entity: filters in three values, starts, due dates.

use proptest::prelude::*;

use super::*;

/// Says what a filter makes of an entity: `due` (it is in scope), `out`, or the field that cannot be read.
fn verdict(tree: &str, entity: &Entity) -> String {
    let policy = one(&[(WHERE, &format!("where = {tree}")), ("start = \"created\"", "start = \"first_seen\"")]);
    match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { .. } => "due".to_owned(),
        Assessment::OutOfScope => "out".to_owned(),
        Assessment::CannotEvaluate { field } => field.to_owned(),
        other @ (Assessment::NoStart { .. } | Assessment::NotRedacted { .. } | Assessment::Suspended) => {
            format!("{other:?}")
        }
    }
}

fn cell(field: &str, field_type: FieldType, cell: Option<&str>) -> Entity {
    Entity::of(&[(field, field_type, cell)], &[])
}

#[test]
fn text_is_compared_letter_by_letter() {
    let entity = cell("notes", FieldType::Text, Some("Hello (World)"));
    for (op, value, wanted) in [
        ("eq", "Hello (World)", "due"),
        ("eq", "hello (world)", "out"),
        ("ne", "x", "due"),
        ("prefix", "Hello", "due"),
        ("prefix", "World", "out"),
        ("suffix", "World)", "due"),
        ("contains", "lo (", "due"),
        ("glob", "Hel*(*)", "due"),
        ("glob", "Hello", "out"),
        ("glob", "Hello ?World?", "due"),
        ("matches", "o.*d", "due"),
        ("matches", "^o", "out"),
    ] {
        let leaf = format!("{{ field = \"notes\", op = \"{op}\", value = \"{value}\" }}");
        assert_eq!(verdict(&leaf, &entity), wanted, "{leaf}");
    }
    assert_eq!(verdict(r#"{ field = "notes", op = "in", value = ["x", "Hello (World)"] }"#, &entity), "due");
    assert_eq!(verdict(r#"{ field = "notes", op = "not_in", value = ["x", "Hello (World)"] }"#, &entity), "out");
}

#[test]
fn a_list_matches_with_any_element_and_all_of_with_every_one() {
    let entity = cell("email1", FieldType::List, Some("a@x.org|b@y.org"));
    let suffix = |op: &str| format!(r#"{{ field = "email1", op = "{op}", value = "@x.org" }}"#);
    let all =
        |end: &str| format!(r#"{{ field = "email1", op = "all_of", value = {{ op = "suffix", value = "{end}" }} }}"#);
    assert_eq!(verdict(&suffix("suffix"), &entity), "due");
    assert_eq!(verdict(&suffix("eq"), &entity), "out");
    assert_eq!(verdict(&all("@x.org"), &entity), "out");
    assert_eq!(verdict(&all(".org"), &entity), "due");
    assert_eq!(verdict(&all(".org"), &cell("email1", FieldType::List, Some(""))), "out", "no element is not every one");
}

#[test]
fn an_absent_cell_matches_nothing_but_absent() {
    for blank in [None, Some(""), Some(" ")] {
        let entity = cell("notes", FieldType::Text, blank);
        assert_eq!(verdict(r#"{ field = "notes", op = "eq", value = "x" }"#, &entity), "out");
        assert_eq!(verdict(r#"{ field = "notes", op = "ne", value = "x" }"#, &entity), "out");
        assert_eq!(verdict(r#"{ field = "notes", op = "exists" }"#, &entity), "out");
        assert_eq!(verdict(r#"{ field = "notes", op = "absent" }"#, &entity), "due");
    }
}

#[test]
fn unreadable_cells_keep_whatever_not_stands_before_them() {
    let entity = cell("shared", FieldType::Boolean, Some("perhaps"));
    let leaf = r#"{ field = "shared", op = "eq", value = true }"#;
    assert_eq!(verdict(leaf, &entity), "shared");
    assert_eq!(verdict(&format!("{{ not = {leaf} }}"), &entity), "shared");
    assert_eq!(verdict(&format!("{{ not = {{ not = {leaf} }} }}"), &entity), "shared");
}

#[test]
fn a_column_that_the_file_lacks_is_unknown() {
    let entity = cell("notes", FieldType::Text, Some("x"));
    for op in [r#""eq", value = "x""#, r#""absent""#, r#""exists""#] {
        assert_eq!(verdict(&format!("{{ field = \"persona_id\", op = {op} }}"), &entity), "persona_id");
    }
    // A source defines its own custom fields, so it is known when there is none.
    assert_eq!(verdict(r#"{ field = "custom.Keep", op = "absent" }"#, &entity), "due");
    assert_eq!(verdict(r#"{ not = { field = "custom.Keep", op = "eq", value = true } }"#, &entity), "custom.Keep");
}

#[test]
fn custom_fields_are_read_as_the_value_says() {
    let entity = Entity::of(
        &[
            ("custom.Tier", FieldType::Text, Some("Gold")),
            ("custom.Score", FieldType::Text, Some("7.5")),
            ("custom.News", FieldType::Text, Some("TRUE")),
            ("custom.Visit", FieldType::Text, Some("2020-04-01T00:00:00Z")),
        ],
        &[],
    );
    for leaf in [
        r#"{ field = "custom.Tier", op = "in", value = ["Gold"] }"#,
        r#"{ field = "custom.Score", op = "ge", value = 7.5 }"#,
        r#"{ field = "custom.News", op = "eq", value = true }"#,
        r#"{ field = "custom.Visit", op = "before", value = 2020-04-02 }"#,
    ] {
        assert_eq!(verdict(leaf, &entity), "due", "{leaf}");
    }
    assert_eq!(verdict(r#"{ field = "custom.Tier", op = "gt", value = 1 }"#, &entity), "custom.Tier");
}

#[test]
fn derived_fields_are_known_for_every_entity() {
    let mut entity = Entity::buyer("2020-01-01");
    entity.open_deals = 2;
    entity.last_activity = Some(at("2021-01-01"));
    for (leaf, wanted) in [
        (r#"{ field = "open_deals", op = "gt", value = 1 }"#, "due"),
        (r#"{ field = "last_activity", op = "after", value = 2020-12-31 }"#, "due"),
        (r#"{ field = "first_seen", op = "before", value = 2024-06-02 }"#, "due"),
        (r#"{ field = "created", op = "before", value = 2020-01-02 }"#, "due"),
        (r#"{ field = "closed", op = "absent" }"#, "due"),
        (r#"{ field = "visibility", op = "eq", value = "shared" }"#, "out"),
        (r#"{ field = "source", op = "prefix", value = "oc" }"#, "due"),
        (r#"{ field = "kind", op = "eq", value = "deal" }"#, "out"),
    ] {
        assert_eq!(verdict(leaf, &entity), wanted, "{leaf}");
    }
}

#[test]
fn source_kind_and_visibility_narrow_the_scope() {
    let mut entity = Entity::buyer("2020-01-01");
    let assess = |entity: &Entity, scope: &str| {
        let policy = one(&[("kind = \"contact\"", &format!("kind = \"contact\"\n{scope}"))]);
        format!("{:?}", policy.bind(&entity.layout).assess(&entity.facts())).split(' ').next().unwrap().to_owned()
    };
    assert_eq!(assess(&entity, "source = [\"ocm\", \"erp\"]"), "Due");
    assert_eq!(assess(&entity, "source = \"erp\""), "OutOfScope");
    assert_eq!(assess(&entity, "visibility = \"private\""), "Due");
    assert_eq!(assess(&entity, "visibility = \"shared\""), "OutOfScope");
    entity.record.visibility = Visibility::Unknown;
    assert_eq!(assess(&entity, "visibility = \"shared\""), "CannotEvaluate");
    entity.layout.kind = Kind::Deal;
    assert_eq!(assess(&entity, ""), "OutOfScope");
}

#[test]
fn every_start_has_its_date() {
    let role = |name: &str| match name {
        "modified" => DateRole::Modified,
        "closed" => DateRole::Closed,
        "contract_end" => DateRole::ContractEnd,
        "received" => DateRole::Received,
        "occurred" => DateRole::Occurred,
        "granted" => DateRole::Granted,
        "last_activity" => DateRole::LastActivity,
        "event:left" => DateRole::Named(0),
        _ => DateRole::Created,
    };
    for start in [
        "created",
        "modified",
        "closed",
        "contract_end",
        "received",
        "occurred",
        "granted",
        "last_activity",
        "event:left",
    ] {
        let policy = one(&[("\"created\"", &format!("\"{start}\""))]);
        let mut entity = Entity::buyer("2020-01-01");
        entity.record.dates = vec![(role(start), at("2021-05-05T10:00:00Z"))];
        let with = policy.bind(&entity.layout).assess(&entity.facts()).reason(at("2022-05-05T22:00:00Z"));
        assert_eq!(with.code(), "period_over", "{start}: {with:?}");
        entity.record.dates.clear();
        let without = policy.bind(&entity.layout).assess(&entity.facts()).reason(at("2030-01-01"));
        assert_eq!(without.code(), "no_start", "{start}");
    }
}

#[test]
fn last_activity_is_the_latest_of_what_is_derived_and_told() {
    let policy = one(&[("\"created\"", "\"last_activity\"")]);
    let mut entity = Entity::buyer("2020-01-01");
    entity.record.dates = vec![(DateRole::LastActivity, at("2021-01-01"))];
    let start = |entity: &Entity| match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { start_at, .. } => start_at,
        other => panic!("{other:?}"),
    };
    assert_eq!(start(&entity), at("2021-01-01"));
    entity.last_activity = Some(at("2022-01-01"));
    assert_eq!(start(&entity), at("2022-01-01"));
    entity.last_activity = Some(at("2020-01-01"));
    assert_eq!(start(&entity), at("2021-01-01"));
    // An activity dated in the future only makes it later.
    entity.last_activity = Some(at("2099-01-01"));
    assert_eq!(start(&entity), at("2099-01-01"));
}

#[test]
fn the_fallback_is_for_missing_dates_and_never_for_unreadable_ones() {
    let policy = one(&[("start = \"created\"", "start = \"created\"\non_missing_start = \"fallback:first_seen\"")]);
    let mut entity = cell("created", FieldType::Date, None);
    entity.layout.columns.push(Column {
        name: "j".to_owned(),
        field: "job_title".to_owned(),
        field_type: FieldType::List,
    });
    entity.record.cells.push(Some("Buyer")).unwrap();
    match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { start, start_at, is_fallback, .. } => {
            assert_eq!((start, start_at, is_fallback), (&StartKind::FirstSeen, entity.first_seen, true));
        }
        other => panic!("{other:?}"),
    }
    entity.record.cells = [Some("some day"), Some("Buyer")].into_iter().collect();
    assert_eq!(policy.bind(&entity.layout).assess(&entity.facts()), Assessment::CannotEvaluate { field: "created" });
}

#[test]
fn the_fallback_does_not_stand_in_for_what_a_mapping_could_not_read_as_a_date() {
    let policy = one(&[("start = \"created\"", "start = \"created\"\non_missing_start = \"fallback:first_seen\"")]);
    let falls_back = |text: Option<&str>| {
        let mut entity = cell("custom.CreatedOn", FieldType::Date, text);
        entity.layout.columns.push(Column {
            name: "j".to_owned(),
            field: "job_title".to_owned(),
            field_type: FieldType::Text,
        });
        entity.record.cells.push(Some("Buyer")).unwrap();
        let bound = policy.bind(&entity.layout);
        match bound.assess(&entity.facts()) {
            Assessment::Due { is_fallback, .. } => is_fallback,
            Assessment::NoStart { .. } => false,
            other => panic!("{other:?}"),
        }
    };
    for missing in [None, Some(" "), Some("1970-01-01"), Some("2020-01-02 10:00:00"), Some("2020-01-02T10:00+01:00")] {
        assert!(falls_back(missing), "{missing:?}");
    }
    for unread in [
        "31.12.2020",
        "some day",
        "2020-13-01",
        "2020-01-02x",
        "n\u{e1}vrh 2020",
        "2020-01-02T24:00",
        "2020-01-02T23:59:60Z",
        "1405-05-12",
        "0025-12-31",
    ] {
        assert!(!falls_back(Some(unread)), "{unread}");
    }
}

#[test]
fn the_fallback_stands_in_beside_a_date_that_was_read_in_the_words_of_an_export() {
    let policy = one(&[("start = \"created\"", "start = \"created\"\non_missing_start = \"fallback:first_seen\"")]);
    let falls_back = |named: &str, read: &[(DateRole, &str)]| {
        let left = ("custom.Left", FieldType::Date, Some("31. 12. 2020"));
        let mut entity = Entity::of(&[left, ("job_title", FieldType::List, Some("Buyer"))], read);
        entity.layout.named_dates = vec![named.to_owned()];
        let bound = policy.bind(&entity.layout);
        let assessment = bound.assess(&entity.facts());
        matches!(assessment, Assessment::Due { is_fallback: true, .. })
    };
    let read = [(DateRole::Named(0), "2020-12-31")];
    assert!(falls_back("custom.Left", &read));
    assert!(!falls_back("custom.Left", &[]), "it could not be read");
    assert!(!falls_back("left", &read), "a mapping may have read that from another column");
}

#[test]
fn min_keep_and_suspension_keep() {
    let entity = Entity::buyer("2020-01-01T12:00:00Z");
    let longer = one(&[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P3Y\"")]);
    match longer.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { due_at, keep_until, .. } => {
            assert_eq!((due_at, keep_until), (at("2023-01-01T23:00:00Z"), Some(at("2023-01-01T23:00:00Z"))));
        }
        other => panic!("{other:?}"),
    }
    let suspend = |leaf: &str| {
        let policy = one(&[("period = \"P1Y\"", &format!("period = \"P1Y\"\nsuspend_while = {leaf}"))]);
        policy.bind(&entity.layout).assess(&entity.facts()).reason(at("2030-01-01")).code()
    };
    assert_eq!(suspend(r#"{ field = "open_deals", op = "eq", value = 0 }"#), "suspended");
    assert_eq!(suspend(r#"{ field = "open_deals", op = "gt", value = 0 }"#), "period_over");
    assert_eq!(suspend(r#"{ field = "notes", op = "eq", value = "x" }"#), "cannot_evaluate");
}

/// A random tree over three cells whose truth is chosen, and the same tree for the reference.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(usize),
    Not(Box<Tree>),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

impl Tree {
    fn toml(&self) -> String {
        let list = |parts: &[Self]| parts.iter().map(Self::toml).collect::<Vec<_>>().join(", ");
        match self {
            Self::Leaf(n) => format!("{{ field = \"custom.c{n}\", op = \"eq\", value = true }}"),
            Self::Not(part) => format!("{{ not = {} }}", part.toml()),
            Self::All(parts) => format!("{{ all = [{}] }}", list(parts)),
            Self::Any(parts) => format!("{{ any = [{}] }}", list(parts)),
        }
    }

    /// Kleene: false is 0, unknown 1, true 2; all is the least, any the greatest, not turns round.
    fn value(&self, cells: [u8; 3]) -> u8 {
        match self {
            Self::Leaf(n) => cells[*n],
            Self::Not(part) => 2 - part.value(cells),
            Self::All(parts) => parts.iter().map(|part| part.value(cells)).min().unwrap(),
            Self::Any(parts) => parts.iter().map(|part| part.value(cells)).max().unwrap(),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    (0_usize..3).prop_map(Tree::Leaf).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Tree::Not(Box::new(part))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::All),
            prop::collection::vec(inner, 1..4).prop_map(Tree::Any),
        ]
    })
}

proptest! {
    #[test]
    fn filters_follow_the_logic_of_three_values(tree in tree(), cells in [0_u8..3, 0_u8..3, 0_u8..3]) {
        let text = |n: usize| Some(["false", "perhaps", "true"][usize::from(cells[n])]);
        let entity = Entity::of(
            &[
                ("custom.c0", FieldType::Boolean, text(0)),
                ("custom.c1", FieldType::Boolean, text(1)),
                ("custom.c2", FieldType::Boolean, text(2)),
            ],
            &[],
        );
        let verdict = verdict(&tree.toml(), &entity);
        match tree.value(cells) {
            0 => prop_assert_eq!(verdict, "out"),
            1 => prop_assert!(verdict.starts_with("custom.c"), "{}", verdict),
            _ => prop_assert_eq!(verdict, "due"),
        }
    }

    #[test]
    fn any_cell_is_judged(cell_text in "\\PC{0,40}", near in "-?[A-Z]{0,3} ?[0-9,.]{0,12}") {
        for text in [cell_text, near] {
            for (field, leaf) in [
                ("shared", r#"op = "eq", value = true"#),
                ("birthday", r#"op = "before", value = 2020-01-01"#),
                ("notes", r#"op = "glob", value = "a*""#),
                ("custom.n", r#"op = "gt", value = 3"#),
            ] {
                let entity = cell(field, FieldType::Text, Some(&text));
                let _ = verdict(&format!("{{ field = \"{field}\", {leaf} }}"), &entity);
            }
        }
    }
}
