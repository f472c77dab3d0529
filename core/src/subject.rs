//! By what a data subject is found: identifiers in one spelling, and the marks that a record bears.
//!
//! An identifier is given by a person, or stands in a record. Both become *marks*: texts that are equal exactly when
//! the identifiers are. A mark is handed to the store's HMAC and forgotten; what is kept of a request is its handles,
//! so nobody who reads the log learns whom it is about, and the same person is still found again years later.
//!
//! **Nothing is merged silently.** A mark is certain or only possible, a place in a record is the person's own or a
//! mere mention, and [`find`] says of every record why it is there. What is not sure is included by a person, or not at
//! all.

use std::borrow::Cow;
use std::fmt;

use bincode::{Decode, Encode};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::Handle;
use crate::text::{is_unseen, unguarded};

mod bear;
pub mod find;

pub use bear::{Borne, Whose, each_mark};

/// The longest identifier that is read, in bytes: an e-mail address has at most 254.
const IDENTIFIER_BYTES_MAX: usize = 512;

/// With fewer digits a telephone number is an extension, and many people have the same one.
const PHONE_DIGITS_MIN: usize = 6;

/// The most digits of a telephone number (ITU-T E.164).
const PHONE_DIGITS_MAX: usize = 15;

/// How many of the last digits tell a number whose country is not said: the longest national numbers have more, and
/// those are only ever possible.
const PHONE_TAIL_DIGITS: usize = 9;

/// With fewer digits in all a number is only ever possible, also with its country: it is short enough to be mistyped
/// into another one, or to be a number of a house.
const PHONE_DIGITS_SURE: usize = 9;

/// The most digits of the code of a country (ITU-T E.164).
const COUNTRY_DIGITS_MAX: usize = 3;

/// What an identifier is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum IdentifierKind {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// An id in a source.
    Id,
}

impl IdentifierKind {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Id => "id",
        }
    }
}

/// How far two equal marks tell one person.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// They are the same identifier.
    Certain,
    /// They may be: a number without its country, an id without its source.
    Possible,
}

/// In which form an identifier is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// A whole address.
    Email,
    /// All digits, the country first.
    PhoneOfACountry,
    /// The last digits of a number whose country is said.
    PhoneTail,
    /// The last digits of a number whose country is not said.
    PhoneNational,
    /// An id with its source.
    IdOfASource,
    /// An id alone.
    Id,
}

impl Form {
    /// A part of what is hashed: it never changes.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Email => b"email",
            Self::PhoneOfACountry => b"phone of a country",
            Self::PhoneTail => b"phone tail",
            Self::PhoneNational => b"phone national",
            Self::IdOfASource => b"id of a source",
            Self::Id => b"id",
        }
    }
}

/// A text that is equal to another exactly when the identifiers are. Personal data: `Debug` shows its form only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    form: Form,
    text: String,
}

impl Mark {
    fn of(form: Form, text: impl Into<String>) -> Self {
        Self { form, text: text.into() }
    }

    /// Returns what the store's HMAC is computed over.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 3] {
        [b"data subject", self.form.name(), self.text.as_bytes()]
    }

    /// Says whether two equal marks of this form are the same identifier, wherever they stand.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self.form {
            Form::Email | Form::PhoneOfACountry | Form::IdOfASource => true,
            Form::PhoneTail | Form::PhoneNational | Form::Id => false,
        }
    }

    /// Returns what kind of identifier it is of.
    #[must_use]
    pub fn kind(&self) -> IdentifierKind {
        match self.form {
            Form::Email => IdentifierKind::Email,
            Form::PhoneOfACountry | Form::PhoneTail | Form::PhoneNational => IdentifierKind::Phone,
            Form::IdOfASource | Form::Id => IdentifierKind::Id,
        }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark").field("form", &self.form).finish_non_exhaustive()
    }
}

/// What a person is looked for by: all that is kept of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SoughtMark {
    /// The mark under the store's index key.
    pub handle: Handle,
    /// What kind of identifier it is of.
    pub identifier: IdentifierKind,
    /// How far it tells the person.
    pub certainty: Certainty,
}

/// An identifier cannot be read. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not an e-mail address.
    #[error("not an e-mail address: expected a form like jana@example.org")]
    Email,
    /// Not a telephone number.
    #[error("not a telephone number: expected 6 to 15 digits, with the country as in +420 777 123 456")]
    Phone,
    /// Not an id.
    #[error("not an id: expected SOURCE:ID, an id alone, or :ID for one with a colon of its own")]
    Id,
}

/// Returns the marks by which a person with an e-mail address is found.
///
/// # Errors
/// When it is none.
pub fn email(text: &str) -> Result<Vec<(Mark, Certainty)>, IdentifierError> {
    let address = address_of(text).ok_or(IdentifierError::Email)?;
    Ok(vec![(Mark::of(Form::Email, address), Certainty::Certain)])
}

/// Returns the marks by which a person with a telephone number is found.
///
/// A number with its country is certain where the country is said too, and possible where it is not. One without its
/// country, or with few digits, is never more than possible.
///
/// # Errors
/// When it is none.
pub fn phone(text: &str) -> Result<Vec<(Mark, Certainty)>, IdentifierError> {
    let number = Number::parse(text).ok_or(IdentifierError::Phone)?;
    let tail = number.tail().to_owned();
    let mut marks: Vec<(Mark, Certainty)> =
        number.nationals().map(|national| (Mark::of(Form::PhoneNational, national), Certainty::Possible)).collect();
    marks.insert(
        0,
        match number.tells_one_person() {
            true => (Mark::of(Form::PhoneOfACountry, number.digits), Certainty::Certain),
            false => (Mark::of(Form::PhoneTail, tail), Certainty::Possible),
        },
    );
    Ok(marks)
}

/// Returns the marks by which a person with an id is found. Only an id of a named source is certain: two sources may
/// have given the same one to different people.
///
/// # Errors
/// When it is none.
pub fn id(source: Option<&str>, text: &str) -> Result<Vec<(Mark, Certainty)>, IdentifierError> {
    let text = unguarded(text);
    if text.is_empty() || text.len() > IDENTIFIER_BYTES_MAX {
        return Err(IdentifierError::Id);
    }
    Ok(match source {
        Some(source) => vec![(id_of_source(source, text), Certainty::Certain)],
        None => vec![(Mark::of(Form::Id, text), Certainty::Possible)],
    })
}

fn id_of_source(source: &str, id: &str) -> Mark {
    Mark::of(Form::IdOfASource, format!("{source}\0{id}"))
}

/// Returns an e-mail address in one spelling; `None` when the text as a whole is none.
///
/// A name around it and the scheme before it are left out. Domains are compared as IDNA does. Local parts are compared
/// without case and in one Unicode form: by RFC 5321 their case may matter, and no provider of people's mailboxes tells
/// them apart by it. Dots and `+tags` are kept: what they mean differs from provider to provider.
fn address_of(text: &str) -> Option<String> {
    if text.len() > IDENTIFIER_BYTES_MAX {
        return None;
    }
    let text = shown(text);
    let text = match text.split_once('<') {
        Some((_, rest)) => rest.split_once('>')?.0,
        None => &text,
    };
    let text = text.trim().trim_matches(['"', '\'']);
    let scheme = |scheme: &str| {
        text.get(..scheme.len()).filter(|found| found.eq_ignore_ascii_case(scheme)).and(text.get(scheme.len()..))
    };
    let text = scheme("mailto:").or_else(|| scheme("smtp:")).unwrap_or(text);
    let (local, domain) = text.rsplit_once('@')?;
    // Quotes around a local part are no part of it (RFC 5321, 4.1.2), and some mail servers tell them.
    let local = local.trim_matches('"');
    let is_plain = |part: &str| {
        !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "@<>,;|()".contains(c))
    };
    if !is_plain(local) || !is_plain(domain) || !domain.contains('.') || domain.starts_with('.') {
        return None;
    }
    let domain = idna::domain_to_ascii(domain.trim_end_matches('.')).ok()?;
    Some(format!("{}@{domain}", folded(local)))
}

/// One spelling of letters, whatever their case and however they are composed.
fn folded(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc().normalize(&shown(text).to_lowercase()).into_owned()
}

/// A text as people see it: wide letters and signs, such as `\u{ff20}` for `@`, are the plain ones, and what nobody sees is not
/// there.
fn shown(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    if plain.contains(is_unseen) { Cow::Owned(plain.replace(is_unseen, "")) } else { plain }
}

/// Whether a number says its country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Country {
    Said,
    NotSaid,
}

/// A telephone number.
struct Number {
    country: Country,
    /// The digits, without the trunk prefix where the country is not said.
    digits: String,
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > IDENTIFIER_BYTES_MAX {
            return None;
        }
        let text = folded(text);
        let text = unguarded(&text).trim_start_matches("tel:").trim();
        // What follows is another number: that of a desk.
        let end = text.find(|c: char| c.is_alphabetic() || "#;,".contains(c)).unwrap_or(text.len());
        let text = text.get(..end)?.replace("(0)", "");
        let is_known =
            |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-./()\u{2010}\u{2011}\u{2013}".contains(c);
        if !text.chars().all(is_known) {
            return None;
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let (country, digits) = match (text.trim_start_matches(['(', ' ']).starts_with('+'), digits.strip_prefix("00"))
        {
            (true, _) => (Country::Said, digits.as_str()),
            (false, Some(rest)) => (Country::Said, rest),
            (false, None) => (Country::NotSaid, digits.trim_start_matches('0')),
        };
        let is_number = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len());
        is_number.then(|| Self { country, digits: digits.to_owned() })
    }

    /// Says whether the number, where it stands with its country, is that of one person as far as a number can tell.
    fn tells_one_person(&self) -> bool {
        self.country == Country::Said && self.digits.len() >= PHONE_DIGITS_SURE
    }

    fn tail(&self) -> &str {
        self.last(PHONE_TAIL_DIGITS)
    }

    fn last(&self, digits: usize) -> &str {
        let from = self.digits.len().saturating_sub(digits);
        self.digits.get(from..).unwrap_or(&self.digits)
    }

    /// Goes through what the number may be without its country, each one once, the longest first. How long the code of
    /// a country is, a number does not say; it matters only where what is left is shorter than a tail.
    fn nationals(&self) -> impl Iterator<Item = &str> {
        let code_max = if self.country == Country::Said { COUNTRY_DIGITS_MAX } else { 0 };
        let shorter = (1..=code_max).map(|code| self.digits.len().saturating_sub(code));
        let is_shorter = |digits: &usize| (PHONE_DIGITS_MIN..self.tail().len()).contains(digits);
        std::iter::once(self.tail()).chain(shorter.filter(is_shorter).map(|digits| self.last(digits)))
    }
}

#[cfg(test)]
mod tests;
