//! The marks that a record bears.

use super::{Country, Form, Mark, Number, address_of, id_of_source, shown};
use crate::record::{EntityRecord, Kind, Layout};
use crate::text::unguarded;

/// Whose an identifier in a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Of the person whom the record is about.
    Own,
    /// Of somebody who wrote or was written to.
    Correspondent,
    /// Of somebody whom the record names.
    Mentioned,
}

/// A mark of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Borne {
    /// The mark.
    pub mark: Mark,
    /// Whose identifier it is.
    pub whose: Whose,
}

/// What divides the elements of a list, and the addresses in a cell that a person wrote.
const DIVIDERS: [char; 4] = ['|', ';', ',', '\n'];

/// What Google puts between several values of one cell.
const DIVIDER_OF_GOOGLE: &str = ":::";

/// What Google puts before the value that somebody takes first.
const FIRST_OF_GOOGLE: &str = "* ";

/// Returns the elements of a cell.
fn elements(cell: &str) -> impl Iterator<Item = &str> {
    let parts = cell.split(DIVIDERS).flat_map(|part| part.split(DIVIDER_OF_GOOGLE)).map(str::trim_start);
    parts.map(|part| part.strip_prefix(FIRST_OF_GOOGLE).unwrap_or(part))
}

/// The sign of an address, also in the forms that stand between Chinese or Japanese letters.
const AT_SIGNS: [char; 3] = ['@', '\u{fe6b}', '\u{ff20}'];

/// The fields of a contact that hold the person's own addresses; those of a company, an assistant or a friend have
/// others.
const OWN_ADDRESSES: [&str; 4] = ["email", "email1", "email2", "email3"];

/// The fields of a contact that hold the person's own numbers. A business number is often that of the house.
const OWN_NUMBERS: [&str; 3] = ["mobile_phone", "home_phone", "phone"];

/// The fields of a message that name who wrote, answers for it or sent it on, and who was written to. An address
/// elsewhere, as in the name of a folder or in what looks like one, a message id, says nothing of that.
const CORRESPONDENTS: [&str; 7] = ["from", "sender", "reply_to", "to", "cc", "bcc", "resent"];

/// Hands out every mark of a record, which must be of the layout.
pub fn each_mark(layout: &Layout, record: &EntityRecord, mut take: impl FnMut(Borne)) {
    let own = match layout.kind {
        Kind::Contact => Whose::Own,
        Kind::Message => Whose::Correspondent,
        Kind::Company
        | Kind::Deal
        | Kind::Activity
        | Kind::Post
        | Kind::Task
        | Kind::Insight
        | Kind::Template
        | Kind::File
        | Kind::Mailbox
        | Kind::Intake
        | Kind::AuditMonth => Whose::Mentioned,
    };
    let ids = std::iter::once(&record.external_id).chain(&record.other_ids);
    for id in ids.filter(|id| !id.is_empty()) {
        // A record that was taken in before what nobody sees around an id, or guards it, was left out has it still.
        let plain = Some(unguarded(id)).filter(|plain| !plain.is_empty() && *plain != id.as_str());
        for id in std::iter::once(id.as_str()).chain(plain) {
            take(Borne { mark: id_of_source(&layout.source, id), whose: own });
            take(Borne { mark: Mark::of(Form::Id, id), whose: own });
        }
    }
    for (column, cell) in layout.columns.iter().zip(record.cells.iter()) {
        let Some(cell) = cell.filter(|cell| !cell.is_empty()) else { continue };
        let field = column.field.as_str();
        // In a contact other columns may be about an assistant, a referrer, an employer: those are mentioned.
        let whose = |is_own: bool| if is_own { own } else { Whose::Mentioned };
        match layout.kind == Kind::Message && CORRESPONDENTS.contains(&field) {
            // Servers tell addresses as they stand in the message: one that is none takes nothing from the others.
            true => cell.split(DIVIDERS).for_each(|part| each_address(part, own, &mut take)),
            false if cell.contains(AT_SIGNS) => {
                each_address(&shown(cell), whose(OWN_ADDRESSES.contains(&field)), &mut take)
            }
            false => {}
        }
        if is_phone(field) {
            for part in elements(unguarded(cell)) {
                each_number(part, whose(OWN_NUMBERS.contains(&field)), &mut take);
            }
        }
    }
}

/// A cell that consists of addresses says whose it is; in the middle of a text an address is a mention.
fn each_address(cell: &str, own: Whose, take: &mut impl FnMut(Borne)) {
    let parts: Vec<&str> = elements(unguarded(cell)).filter(|part| !part.trim().is_empty()).collect();
    let whole: Vec<Option<String>> = parts.iter().map(|part| address_of(part)).collect();
    if whole.iter().all(Option::is_some) {
        for address in whole.into_iter().flatten() {
            take(Borne { mark: Mark::of(Form::Email, address), whose: own });
        }
        return;
    }
    let words = cell.split(|c: char| c.is_whitespace() || "<>()[]|;,\"'".contains(c)).filter(|word| word.contains('@'));
    for word in words {
        let word = word.trim_end_matches(['.', ':', '!', '?']);
        if let Some(address) = address_of(word) {
            take(Borne { mark: Mark::of(Form::Email, address), whose: Whose::Mentioned });
        }
    }
}

/// What stands between two numbers also stands between the parts of one: `/`.
const DIVIDER_OR_GAP: char = '/';

/// Hands out the numbers of a text that no divider divides. A text that is one number and several numbers alike is only
/// possibly any of them; nobody can tell a part of a number from a number that something follows.
fn each_number(text: &str, own: Whose, take: &mut impl FnMut(Borne)) {
    let whole = Number::parse(text);
    if !text.contains(DIVIDER_OR_GAP) {
        whole.into_iter().for_each(|number| each_mark_of(&number, false, own, take));
        return;
    }
    let parts: Vec<Option<Number>> = text.split(DIVIDER_OR_GAP).map(Number::parse).collect();
    let are_all_numbers = parts.iter().all(Option::is_some);
    for number in parts.iter().flatten() {
        each_mark_of(number, whole.is_some(), own, take);
    }
    if let Some(number) = whole {
        each_mark_of(&number, are_all_numbers, own, take);
    }
}

/// Hands out the marks of one number; `is_in_doubt`: whether it is one at all.
fn each_mark_of(number: &Number, is_in_doubt: bool, own: Whose, take: &mut impl FnMut(Borne)) {
    let mut give = |form, text: &str| take(Borne { mark: Mark::of(form, text), whose: own });
    let is_sure = number.tells_one_person() && !is_in_doubt;
    if is_sure {
        give(Form::PhoneOfACountry, &number.digits);
    }
    if number.country == Country::Said {
        number.nationals().for_each(|national| give(Form::PhoneTail, national));
    }
    if !is_sure {
        give(Form::PhoneNational, number.tail());
    }
}

/// Says whether a field holds telephone numbers, by the names that sources and people give to those.
fn is_phone(field: &str) -> bool {
    let field = field.to_lowercase();
    ["phone", "mobil", "telefon", "telephone", "handy", "fax"].iter().any(|word| field.contains(word))
        || field.strip_prefix(crate::record::field::CUSTOM_PREFIX).is_some_and(|label| label.starts_with("tel"))
}
