//! A policy file: what is wrong is said with a place inside it; what is accepted can be written as every document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::policy::{Document, DocumentForm, PolicyError, PolicyFile, PolicySet};

fn assert_placed(error: &PolicyError, text: &str) {
    assert_eq!(error.file, "fuzzed.toml");
    let line = text.split('\n').nth(error.line as usize - 1).expect("a line of the file");
    assert!((1..=line.chars().count() + 1).contains(&(error.column as usize)), "{error:?}");
    let _shown = error.problem.to_string();
}

fuzz_target!(|text: &str| {
    let check = || PolicySet::check(&[PolicyFile { stem: "fuzzed", text }]);
    match (check(), check()) {
        (Err(errors), again) => {
            assert!(!errors.is_empty() && errors.len() <= 101, "{} errors", errors.len());
            errors.iter().for_each(|error| assert_placed(error, text));
            assert_eq!(again.err(), Some(errors));
        }
        (Ok(set), again) => {
            assert_eq!(again.map(|set| set.digest()), Ok(set.digest()));
            set.failing_examples().iter().for_each(|error| assert_placed(error, text));
            for document in [Document::Ropa, Document::DeletionConcept, Document::PrivacyNotice] {
                for form in [DocumentForm::Markdown, DocumentForm::Csv] {
                    let written = document.of(&set, form);
                    let strange = |c: char| {
                        (c.is_control() && c != '\n' && c != '\r')
                            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                    };
                    assert!(!written.contains(strange), "{document:?} {form:?}");
                }
            }
        }
    }
});
