//! A mapping file: refused with a line inside it, or right as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retentiond::connector::drop::mapping::Mapping;

fuzz_target!(|text: &str| {
    match (Mapping::parse(text), Mapping::parse(text)) {
        (Ok(mapping), again) => {
            assert_eq!(again.map(|again| format!("{again:?}")), Ok(format!("{mapping:?}")));
            assert!(!mapping.id.is_empty() && !mapping.files.is_empty());
            assert!(mapping.required().is_sorted());
            let _fits = mapping.fits("contacts-2026.csv");
        }
        (Err(error), again) => {
            assert!((1..=text.split('\n').count()).contains(&error.line), "{error:?}");
            assert_eq!(again.err(), Some(error));
        }
    }
});
