//! Cells that no spreadsheet takes for a formula, and the way back.

use std::borrow::Cow;

/// What a spreadsheet may take for the start of a formula (OWASP, "CSV Injection"), full-width forms included.
fn starts_formula(character: char) -> bool {
    matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
}

/// What is dangerous as the very first character of a cell, by the same source.
fn is_dangerous_first(character: char) -> bool {
    starts_formula(character) || matches!(character, '\t' | '\r' | '\n')
}

/// What may begin a new cell inside a quoted one, when a spreadsheet opens the file with another delimiter.
fn may_begin_cell(character: char) -> bool {
    matches!(character, ',' | ';' | '\t' | '\r' | '\n')
}

/// Makes a cell harmless for spreadsheets: a `'` is put before a dangerous character at the start of the cell, and
/// before a formula character that follows what may begin a cell. Quotes that already stand there are kept, so that
/// [`spreadsheet_plain`] gives back the very cell. By the rule of OWASP a `-5` becomes `'-5`, number or not.
#[must_use]
pub fn spreadsheet_safe(text: &str) -> Cow<'_, str> {
    rewrite(text, |quotes| quotes + 1)
}

/// Gives back the cell that [`spreadsheet_safe`] was given.
#[must_use]
pub fn spreadsheet_plain(text: &str) -> Cow<'_, str> {
    rewrite(text, |quotes| quotes.saturating_sub(1))
}

/// Replaces the number of `'` before every dangerous character by what `count` makes of it.
fn rewrite(text: &str, count: impl Fn(usize) -> usize) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let (mut start, mut copied, mut quotes, mut at_boundary) = (true, 0, 0, true);
    for (at, character) in text.char_indices() {
        if at_boundary && character == '\'' {
            quotes += 1;
            continue;
        }
        if at_boundary && (starts_formula(character) || (start && is_dangerous_first(character))) {
            let new = count(quotes);
            if new != quotes {
                let out = out.get_or_insert_with(|| String::with_capacity(text.len() + 8));
                out.push_str(text.get(copied..at - quotes).unwrap_or_default());
                out.extend(std::iter::repeat_n('\'', new));
                copied = at;
            }
        }
        start = false;
        quotes = 0;
        at_boundary = may_begin_cell(character);
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_disarmed_and_numbers_stay_readable() {
        for (plain, safe) in [
            ("=1+1", "'=1+1"),
            ("-5", "'-5"),
            ("@SUM", "'@SUM"),
            ("＝1", "'＝1"),
            ("'=1", "''=1"),
            ("\t=1", "'\t'=1"),
            ("a;=cmd", "a;'=cmd"),
            ("a\r\n- b", "a\r\n'- b"),
            ("it's", "it's"),
            ("'quoted'", "'quoted'"),
            ("5-3", "5-3"),
            ("", ""),
        ] {
            assert_eq!(spreadsheet_safe(plain), safe);
            assert_eq!(spreadsheet_plain(safe), plain);
        }
    }

    proptest! {
        #[test]
        fn safe_is_undone_exactly(text in prop_oneof![any::<String>(), "[=+@;,'\"a\t\r\n-]{0,12}"]) {
            let safe = spreadsheet_safe(&text).into_owned();
            prop_assert_eq!(spreadsheet_plain(&safe), text);
            prop_assert!(!safe.starts_with(is_dangerous_first));
            let mut before = None;
            for character in safe.chars() {
                prop_assert!(!(starts_formula(character) && before.is_some_and(may_begin_cell)));
                before = Some(character);
            }
        }
    }
}
