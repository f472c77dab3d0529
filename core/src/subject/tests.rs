use proptest::prelude::*;

use super::find::{Found, Tie};
use super::*;
use crate::id::{EntityId, LayoutId};
use crate::record::{Cells, Column, EntityRecord, FieldType, Kind, Layout, Relation, Visibility};

fn certain(marks: Result<Vec<(Mark, Certainty)>, IdentifierError>) -> Vec<Mark> {
    let marks = marks.unwrap().into_iter();
    marks.filter(|(_, certainty)| *certainty == Certainty::Certain).map(|(mark, _)| mark).collect()
}

fn record(kind: Kind, cells: &[(&str, &str)], id: &str) -> (Layout, EntityRecord) {
    let column = |(field, _): &(&str, &str)| Column {
        name: (*field).to_owned(),
        field: (*field).to_owned(),
        field_type: FieldType::Text,
    };
    let columns = cells.iter().map(column).collect();
    let layout = Layout { source: "crm".into(), kind, columns, named_dates: vec![] };
    let record = EntityRecord {
        layout: LayoutId(1),
        mailbox: None,
        visibility: Visibility::Unknown,
        external_id: id.to_owned(),
        other_ids: Vec::new(),
        dates: Vec::new(),
        links: Vec::new(),
        cells: cells.iter().map(|(_, cell)| Some(*cell)).collect::<Cells>(),
    };
    (layout, record)
}

/// Returns the strongest tie between a person who is looked for and a record.
fn tie(sought: Result<Vec<(Mark, Certainty)>, IdentifierError>, kind: Kind, cells: &[(&str, &str)]) -> Option<Tie> {
    let (layout, record) = record(kind, cells, "17");
    let mut ties = Vec::new();
    for (mark, certainty) in sought.unwrap() {
        each_mark(&layout, &record, |borne| {
            if borne.mark == mark {
                ties.push(Tie::of_mark(mark.kind(), certainty, borne.whose));
            }
        });
    }
    ties.into_iter().min()
}

#[test]
fn one_address_has_one_mark_however_it_is_written() {
    let one = certain(email("jana@example.org"));
    for other in [
        "JANA@Example.ORG",
        " jana@example.org ",
        "Jana Nováková <jana@example.org>",
        "mailto:jana@example.org",
        "SMTP:Jana@example.org.",
        "ｊａｎａ@example.org",
        "\"jana@example.org\"",
        "\"jana\"@example.org",
        "Jana <\"Jana\"@example.org>",
    ] {
        assert_eq!(certain(email(other)), one, "{other}");
    }
    assert_eq!(certain(email("a@BÜCHER.example")), certain(email("a@xn--bcher-kva.example")));
    // A letter with its mark, and a letter followed by its mark.
    assert_eq!(certain(email("ren\u{e9}@example.org")), certain(email("rene\u{301}@example.org")));
    for other in ["jana.n@example.org", "jana+x@example.org", "jana@example.com", "jana@mail.example.org"] {
        assert_ne!(certain(email(other)), one, "{other}");
    }
}

#[test]
fn what_nobody_sees_and_what_guards_against_spreadsheets_hides_nobody() {
    let cell = |kind: &str, text: &str| {
        let sought = if kind == "email1" { email("ana@example.org") } else { phone("+420 777 123 456") };
        tie(sought, Kind::Contact, &[(kind, text)])
    };
    for text in [
        "\u{200e}ana@example.org",
        "ana\u{200b}@example.org\u{200b}",
        "\u{202a}Ana <ana@example.org>\u{202c}",
        "ana\u{ff20}example.org",
        "\u{ff41}na\u{ff20}example\u{ff0e}org",
        "bo@x.org;\u{feff}ana@example.org",
    ] {
        assert_eq!(cell("email1", text), cell("email1", "ana@example.org"), "{text:?}");
    }
    for text in ["=\"ana@example.org\"", "=\"bo@x.org;ana@example.org\""] {
        assert_eq!(cell("email1", text), cell("email1", "ana@example.org"), "{text:?}");
    }
    for text in [
        "=\"+420 777 123 456\"",
        "'+420777123456",
        "\u{202a}+420 777 123 456\u{202c}",
        "\u{2066}+420777123456\u{2069}",
        "+420\u{200b}777123456",
    ] {
        assert_eq!(cell("mobile_phone", text), cell("mobile_phone", "+420777123456"), "{text:?}");
    }
}

#[test]
fn an_id_is_the_same_with_what_guards_it_in_the_record_or_in_the_question() {
    let marks_of = |stored: &str| {
        let (layout, record) = record(Kind::Contact, &[], stored);
        let mut marks = Vec::new();
        each_mark(&layout, &record, |borne| marks.push(borne.mark));
        marks
    };
    for stored in ["007", "\u{feff}007\u{200b}", "=\"007\""] {
        for asked in ["007", " 007\u{200e}", "=\"007\""] {
            for sought in [id(Some("crm"), asked), id(None, asked)] {
                let (mark, _) = sought.unwrap()[0].clone();
                assert!(marks_of(stored).contains(&mark), "{stored:?} {asked:?}");
            }
        }
    }
}

#[test]
fn what_is_no_address_is_refused_and_not_repeated() {
    for text in ["", "jana", "jana@", "@example.org", "jana@localhost", "a b@example.org", "a@b@example.org, c@d.org"] {
        let error = email(text).unwrap_err();
        assert!(!error.to_string().contains("a@b"), "{error}");
    }
    assert!(email(&format!("{}@example.org", "a".repeat(600))).is_err());
}

#[test]
fn a_number_with_its_country_is_certain_and_without_it_only_possible() {
    let number = || phone("+420 777 123 456");
    for same in
        ["00420777123456", "+420-777-123-456", "(+420) 777 123 456", "tel:+420777123456", "+420777123456 kl. 12"]
    {
        assert_eq!(
            tie(number(), Kind::Contact, &[("mobile_phone", same)]),
            Some(Tie::Own { identifier: IdentifierKind::Phone }),
            "{same}"
        );
    }
    for alike in ["777 123 456", "0777123456"] {
        let own = Some(Tie::Alike { identifier: IdentifierKind::Phone });
        assert_eq!(tie(number(), Kind::Contact, &[("mobile_phone", alike)]), own, "{alike}");
        assert_eq!(tie(phone(alike), Kind::Contact, &[("custom.Telefon", "+420777123456")]), own, "{alike}");
    }
    for other in ["+421777123456", "777123457", "12", "see notes", ""] {
        assert_eq!(tie(number(), Kind::Contact, &[("mobile_phone", other)]), None, "{other}");
    }
    assert_eq!(
        tie(number(), Kind::Contact, &[("notes", "+420777123456")]),
        None,
        "numbers in other fields are no telephone numbers"
    );
    assert!(phone("12345").is_err() && phone("+1234567890123456").is_err() && phone("jana").is_err());
}

#[test]
fn every_number_of_a_cell_is_found_whatever_divides_them() {
    let own = Some(Tie::Own { identifier: IdentifierKind::Phone });
    let alike = Some(Tie::Alike { identifier: IdentifierKind::Phone });
    for divider in ["/", " / ", ";", ", ", "|", "\n", " ::: "] {
        let cell = format!("+420 777 123 456{divider}+420 608 111 222{divider}+44 20 7946 0018");
        for number in ["+420777123456", "+420608111222", "+442079460018"] {
            assert_eq!(tie(phone(number), Kind::Contact, &[("mobile_phone", &cell)]), own, "{cell:?}");
        }
        assert_eq!(tie(phone("+420777123457"), Kind::Contact, &[("mobile_phone", &cell)]), None, "{cell:?}");
    }
    let first =
        [("phone", "* +420 777 123 456 ::: +420 608 111 222"), ("email1", "* ana@example.org ::: ana@work.example")];
    assert_eq!(tie(phone("+420777123456"), Kind::Contact, &first), own, "as Google marks the first one");
    for address in ["ana@example.org", "ana@work.example"] {
        let own = Some(Tie::Own { identifier: IdentifierKind::Email });
        assert_eq!(tie(email(address), Kind::Contact, &first), own, "{address}");
    }
    // One number that is written with strokes, and a number with that of a desk: what is not wholly read so is in
    // doubt.
    let in_groups = [("mobile_phone", "+49 30/12345678")];
    assert_eq!(tie(phone("+493012345678"), Kind::Contact, &in_groups), own);
    assert_eq!(tie(phone("12345678"), Kind::Contact, &in_groups), alike);
    let with_desk = [("mobile_phone", "+420 777 123 456/12")];
    assert_eq!(tie(phone("+420777123456"), Kind::Contact, &with_desk), alike);
    // Two short numbers, or one long one.
    let both = [("mobile_phone", "+49301234/301235")];
    for number in ["+49301234", "301235", "+49301234301235"] {
        assert_eq!(tie(phone(number), Kind::Contact, &both), alike, "{number}");
    }
}

#[test]
fn a_number_of_few_digits_is_found_and_never_sure() {
    let alike = Some(Tie::Alike { identifier: IdentifierKind::Phone });
    // The whole number has eight digits: with its country too it is only possible.
    for stored in ["+29022158", "0029022158"] {
        assert_eq!(tie(phone("+290 22158"), Kind::Contact, &[("mobile_phone", stored)]), alike, "{stored}");
    }
    // What is left without the country has seven or eight: it is found, whichever of the two says the country.
    for (with, without) in
        [("+354 551 2345", "551 2345"), ("+65 6123 4567", "6123 4567"), ("+45 32 12 34 56", "32123456")]
    {
        assert_eq!(tie(phone(with), Kind::Contact, &[("mobile_phone", without)]), alike, "{with}");
        assert_eq!(tie(phone(without), Kind::Contact, &[("mobile_phone", with)]), alike, "{without}");
        let own = Some(Tie::Own { identifier: IdentifierKind::Phone });
        assert_eq!(tie(phone(with), Kind::Contact, &[("mobile_phone", with)]), own, "{with}");
    }
    assert_eq!(tie(phone("+354 551 2345"), Kind::Contact, &[("mobile_phone", "551 2346")]), None);
}

#[test]
fn an_id_is_certain_in_its_source_only() {
    let cells = [("notes", "x")];
    assert_eq!(tie(id(Some("crm"), "17"), Kind::Contact, &cells), Some(Tie::Own { identifier: IdentifierKind::Id }));
    assert_eq!(tie(id(Some("web"), "17"), Kind::Contact, &cells), None);
    assert_eq!(tie(id(None, "17"), Kind::Contact, &cells), Some(Tie::Alike { identifier: IdentifierKind::Id }));
}

#[test]
fn an_id_that_was_taken_in_with_what_nobody_sees_or_what_guards_it_is_found_by_either() {
    for taken_in in ["\u{feff}007", "007\u{200b}", "=\"007\""] {
        for sought in ["007", taken_in] {
            let (layout, record) = record(Kind::Contact, &[], taken_in);
            let mark = certain(id(Some("crm"), sought)).remove(0);
            let mut own = false;
            each_mark(&layout, &record, |borne| own |= borne.mark == mark && borne.whose == Whose::Own);
            assert!(own, "{sought:?} of {taken_in:?}");
        }
    }
}

#[test]
fn whose_an_address_is_depends_on_where_it_stands() {
    let jana = || email("jana@example.org");
    let identifier = IdentifierKind::Email;
    let own = [("email1", "x@example.org|Jana <JANA@example.org>")];
    assert_eq!(tie(jana(), Kind::Contact, &own), Some(Tie::Own { identifier }));
    let text = [("notes", "Ask jana@example.org. Or somebody else")];
    assert_eq!(tie(jana(), Kind::Contact, &text), Some(Tie::Mention { identifier }));
    assert_eq!(tie(jana(), Kind::Message, &[("from", "jana@example.org")]), Some(Tie::Correspondence { identifier }));
    assert_eq!(tie(jana(), Kind::Company, &[("email", "jana@example.org")]), Some(Tie::Mention { identifier }));
    assert_eq!(tie(jana(), Kind::Contact, &[("email1", "notjana@example.org")]), None);
}

#[test]
fn a_correspondent_is_who_wrote_or_got_a_message_and_nobody_else_in_it() {
    let (jana, identifier) = (|| email("Jana@EXAMPLE.org"), IdentifierKind::Email);
    let is_tied = |cells: &[(&str, &str)], wanted| assert_eq!(tie(jana(), Kind::Message, cells), wanted, "{cells:?}");
    for field in ["from", "to", "cc", "sender", "reply_to", "bcc", "resent"] {
        is_tied(&[(field, "x@example.org|JANA@example.org")], Some(Tie::Correspondence { identifier }));
        // What a server tells beside it may be no address at all.
        for beside in ["undisclosed-recipients", "MAILER-DAEMON", "@", "a b@c", "x%7Cy@example.org"] {
            is_tied(&[(field, &format!("{beside}|jana@example.org"))], Some(Tie::Correspondence { identifier }));
        }
    }
    for field in ["message_id", "list", "folder", "keywords"] {
        is_tied(&[(field, "jana@example.org")], Some(Tie::Mention { identifier }));
    }
    is_tied(&[("to", "notjana@example.org|jana@example.org.cz")], None);
}

#[test]
fn links_are_followed_one_step_and_what_is_about_others_too_is_not_sure() {
    let [jana, other, note, both, firm] = [1, 2, 3, 4, 5].map(EntityId);
    let mut found = Found::default();
    found.tie(jana, Tie::Own { identifier: IdentifierKind::Email });
    let neighbours = |_| vec![(Relation::About, note), (Relation::About, both), (Relation::Associated, firm)];
    let abouts = |entity| Ok::<_, ()>(Some(if entity == both { vec![jana, other] } else { vec![jana] }));
    found.follow(neighbours, abouts).unwrap();
    assert_eq!(found.sure(), [jana, note]);
    let ties: Vec<String> = found.iter().map(|(_, ties)| ties.first().unwrap().text()).collect();
    assert_eq!(ties, ["own email", "about E1", "about E1 and others", "associated with E1"]);
}

#[test]
fn a_mark_tells_nobody_whose_it_is() {
    let (mark, _) = email("jana@example.org").unwrap().pop().unwrap();
    assert!(!format!("{mark:?}").contains("jana"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = (email(&text), phone(&text), id(None, &text));
        let (layout, record) = record(Kind::Contact, &[("email1", &text), ("home_phone", &text)], &text);
        each_mark(&layout, &record, drop);
    }

    #[test]
    fn what_is_looked_for_is_found_in_the_record_it_came_from(local in "[a-zA-Z0-9.+_čéß-]{1,20}", domain in "[a-z]{1,9}\\.(org|cz)") {
        let address = format!("{local}@{domain}");
        prop_assume!(email(&address).is_ok());
        let found = tie(email(&address), Kind::Contact, &[("email1", &address)]);
        prop_assert_eq!(found, Some(Tie::Own { identifier: IdentifierKind::Email }));
    }

    #[test]
    fn case_and_width_make_no_other_person(local in "[a-zčéß]{1,20}") {
        let upper = local.to_uppercase();
        prop_assert_eq!(certain(email(&format!("{local}@a.org"))).len(), 1);
        // What has no single capital letter does not come back from one.
        if upper.to_lowercase() == local {
            prop_assert_eq!(certain(email(&format!("{upper}@A.org"))), certain(email(&format!("{local}@a.org"))));
        }
    }

    #[test]
    fn a_number_is_found_in_any_grouping(digits in "[1-9][0-9]{8}", gap in "[ ./-]") {
        let grouped: String = digits.as_bytes().chunks(3).map(|g| String::from_utf8_lossy(g).into_owned()).collect::<Vec<_>>().join(&gap);
        let found = tie(phone(&format!("+420{digits}")), Kind::Contact, &[("home_phone", &format!("+420{gap}{grouped}"))]);
        prop_assert_eq!(found, Some(Tie::Own { identifier: IdentifierKind::Phone }));
    }
}
