//! What a cell must be, by the form of its attribute.

use super::detect::slips;
use super::kind::ValueForm;
use super::rule::Rule;

/// The longest address, in bytes: RFC 5321 (4.5.3.1.3) has 256 with its angle brackets.
const ADDRESS_BYTES_MAX: usize = 254;

/// The longest part before the `@`, in bytes: RFC 5321 (4.5.3.1.1).
const LOCAL_PART_BYTES_MAX: usize = 64;

/// The longest label of a domain, in bytes: RFC 1035.
const LABEL_BYTES_MAX: usize = 63;

/// How far a value may be from a word to be taken for a slip of the hand.
const WORD_SLIPS_MAX: usize = 3;

/// The fewest characters of a password of a new mailbox.
const PASSWORD_CHARS_MIN: usize = 8;

/// Checks a cell that is not empty.
///
/// # Errors
/// The rule that it breaks. Never its content.
pub fn check_value(name: &'static str, form: ValueForm, value: &str) -> Result<(), Rule> {
    match form {
        ValueForm::Login
        | ValueForm::Free
        | ValueForm::UserRoot
        | ValueForm::PublicFolder
        | ValueForm::PstFolder
        | ValueForm::PstName
        | ValueForm::TargetRoot
            if value.trim() == value && value.chars().any(char::is_control) =>
        {
            Err(Rule::ControlCharacter { attribute: name })
        }
        ValueForm::Address if value.trim() != value => Err(Rule::SpaceAround { attribute: name }),
        ValueForm::Address => is_address(value).or_rule(Rule::NotAnAddress { attribute: name }),
        ValueForm::AddressOrGuid => {
            (is_address(value) || is_guid(value)).or_rule(Rule::NotAnAddressOrGuid { attribute: name })
        }
        ValueForm::Login => (value.trim() == value).or_rule(Rule::SpaceAround { attribute: name }),
        ValueForm::Password | ValueForm::NewPassword if !is_one_line(value) => Err(Rule::PasswordLines),
        ValueForm::Password | ValueForm::Free => Ok(()),
        ValueForm::NewPassword => (value.chars().count() >= PASSWORD_CHARS_MIN).or_rule(Rule::PasswordShort),
        ValueForm::TrueFalse => check_words(name, value, &["True", "False"]),
        ValueForm::UpperTrueFalse => check_words(name, value, &["TRUE", "FALSE"]),
        ValueForm::MailboxType => check_words(name, value, &["PrimaryOnly", "ArchiveOnly", "PrimaryAndArchive"]),
        ValueForm::ItemLimit => is_item_limit(value).or_rule(Rule::NotALimit { attribute: name }),
        ValueForm::PublicFolder => value.starts_with('\\').or_rule(Rule::NotAFolderPath),
        ValueForm::UserRoot => value.starts_with('/').or_rule(Rule::UserRootForm),
        ValueForm::Workload => (value == "Exchange").or_rule(Rule::NotExchange),
        ValueForm::PstFolder => (!value.to_ascii_lowercase().contains("ingestiondata")).or_rule(Rule::PstFolderForm),
        ValueForm::PstName => value.to_ascii_lowercase().ends_with(".pst").or_rule(Rule::NotAPst),
        ValueForm::TargetRoot => value.starts_with('/').or_rule(Rule::TargetRootForm),
        ValueForm::CodePage => value.parse::<u32>().is_ok().or_rule(Rule::NotACodePage),
        ValueForm::Blank => Err(Rule::MustBeBlank { attribute: name }),
    }
}

/// Says whether a text is of one line and without NUL. No other password can be sent: an IMAP login is a line, and
/// SASL PLAIN ends each of its parts with NUL (RFC 4616).
#[must_use]
pub fn is_one_line(text: &str) -> bool {
    !text.contains(['\0', '\r', '\n'])
}

trait OrRule {
    fn or_rule(self, rule: Rule) -> Result<(), Rule>;
}

impl OrRule for bool {
    fn or_rule(self, rule: Rule) -> Result<(), Rule> {
        if self { Ok(()) } else { Err(rule) }
    }
}

fn check_words(attribute: &'static str, value: &str, words: &'static [&'static str]) -> Result<(), Rule> {
    if words.contains(&value) {
        return Ok(());
    }
    if let Some(meant) = words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
        return Err(Rule::WordCase { attribute, meant });
    }
    let local = match value.trim().to_lowercase().as_str() {
        "pravda" | "ano" | "áno" | "wahr" | "yes" | "1" => {
            words.first().filter(|word| word.eq_ignore_ascii_case("true"))
        }
        "nepravda" | "ne" | "nie" | "falsch" | "no" | "0" => {
            words.get(1).filter(|word| word.eq_ignore_ascii_case("false"))
        }
        _ => None,
    };
    let near = || {
        let written = value.to_lowercase();
        words.iter().find(|word| slips(&word.to_lowercase(), &written, WORD_SLIPS_MAX).is_some())
    };
    Err(Rule::NotAWord { attribute, words, meant: local.or_else(near).copied() })
}

/// Says whether a text is an SMTP address as Exchange takes one: an ASCII dot-atom, `@`, and a domain with a dot.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c);
    let atoms = |part: &str| part.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom));
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= ADDRESS_BYTES_MAX
        && local.len() <= LOCAL_PART_BYTES_MAX
        && atoms(local)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn is_item_limit(text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    text == "Unlimited" || (is_number && text.parse::<i32>().is_ok())
}

/// Says whether a spreadsheet would run a cell as a formula (OWASP, CSV injection).
#[must_use]
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}
