//! The configuration: every problem has a place inside the file, and what is accepted is accepted again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use retentiond::config::Config;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("/nowhere/config.toml");
    match (Config::parse(path, bytes), Config::parse(path, bytes)) {
        (Ok(config), Ok(again)) => assert_eq!(config.digest, again.digest),
        (Err(error), Err(again)) => {
            assert_eq!(error, again);
            assert!(!error.problems.is_empty());
            let lines: Vec<&str> = std::str::from_utf8(bytes).unwrap_or_default().split('\n').collect();
            for problem in &error.problems {
                assert!(!problem.message.is_empty());
                if problem.line > 0 {
                    let line = lines.get(problem.line - 1).expect("a line of the file");
                    assert!((1..=line.chars().count() + 1).contains(&problem.column), "{problem:?}");
                }
            }
            let _shown = error.to_string();
        }
        (one, other) => panic!("{one:?}, then {other:?}"),
    }
});
