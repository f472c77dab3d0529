use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::flush::failing::{CUTS, Failing, Fails};
use crate::flush::{Flush, OpenGate};

/// One that nobody signed: what lies in the file is not looked at here.
fn cosignature(size: u64, witness: u8, seconds: u64) -> Cosignature {
    let signed = [&[witness; 4][..], &seconds.to_be_bytes(), &[witness; 64]].concat();
    let record = format!("{size} w{witness}+0000000{witness}+BAAA {}", STANDARD.encode(signed));
    Cosignature::parse_record(&record).unwrap()
}

fn open(tree: &Path) -> Result<Cosignatures, TreeFileError> {
    Cosignatures::open(tree, Arc::new(OpenGate))
}

fn written(cosignatures: &[Cosignature]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text: String = cosignatures.iter().map(Cosignature::record).collect();
    std::fs::write(dir.path().join("cosignatures"), text).unwrap();
    dir
}

#[test]
fn there_is_no_file_before_the_first_one_and_what_is_kept_is_there_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path()).unwrap();
    assert_eq!((kept.best_above(0), kept.end()), (None, 0));
    assert!(kept.over(7).unwrap().is_empty() && !dir.path().join("cosignatures").exists());
    let all = [cosignature(7, 1, 100), cosignature(9, 2, 101), cosignature(9, 1, 102), cosignature(7, 2, 103)];
    for one in &all {
        kept.keep(one.clone()).unwrap();
    }
    let again = open(dir.path()).unwrap();
    for kept in [&kept, &again] {
        assert_eq!(kept.over(7).unwrap(), [all[0].clone(), all[3].clone()]);
        assert_eq!(kept.over(9).unwrap(), [all[2].clone(), all[1].clone()]);
        assert!(kept.over(8).unwrap().is_empty());
        assert_eq!(kept.newest_of(&all[0].key), Some((9, Timestamp::from_unix_seconds(102))));
        assert_eq!((kept.best_above(0), kept.best_above(8), kept.best_above(9)), (Some(9), Some(9), None));
        assert_eq!(kept.end(), std::fs::metadata(dir.path().join("cosignatures")).unwrap().len());
    }
    // The same once more, later: the later counts.
    again.keep(cosignature(9, 2, 200)).unwrap();
    assert_eq!(again.over(9).unwrap()[1].at(), Timestamp::from_unix_seconds(200));
}

#[test]
fn a_flush_that_fails_persisted_or_not_loses_doubles_and_tears_no_cosignature() {
    let all = [cosignature(7, 1, 100), cosignature(9, 2, 101), cosignature(9, 1, 102)];
    let expected: String = all.iter().map(Cosignature::record).collect();
    let goes_on = [(Fails::Before, None), (Fails::After, None)];
    for (fails, cut) in goes_on.into_iter().chain(CUTS.map(|(fails, remains)| (fails, Some(remains)))) {
        let mut stops = 0;
        loop {
            let says = format!("{fails:?} flush {}, {cut:?}", stops + 1);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("cosignatures");
            let gate = Failing::of(Flush::Cosignature);
            gate.arm(std::slice::from_ref(&path), stops + 1, fails);
            let mut kept = Cosignatures::open(dir.path(), gate.clone()).unwrap();
            for one in &all {
                // A witness is asked again for what is not known to be signed.
                while !kept.over(one.size).unwrap().contains(one) {
                    if kept.keep(one.clone()).is_err()
                        && let Some(remains) = cut
                    {
                        gate.cut(remains);
                        kept = Cosignatures::open(dir.path(), gate.clone()).unwrap();
                    }
                }
            }
            drop(kept);
            if !gate.has_failed() {
                break;
            }
            gate.cut_now();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "{says}");
            assert_eq!(open(dir.path()).unwrap().end(), expected.len() as u64, "{says}");
            stops += 1;
        }
        assert!(stops >= 4, "there are only {stops} flushes");
    }
}

#[test]
fn what_an_attempt_left_that_could_not_be_cut_off_does_not_lie_behind_the_next_one() {
    let all = [cosignature(7, 1, 100), cosignature(9, 1, 101)];
    let dir = tempfile::tempdir().unwrap();
    let (path, kept) = (dir.path().join("cosignatures"), open(dir.path()).unwrap());
    kept.keep(all[0].clone()).unwrap();
    let left = [all[0].record(), all[0].record(), all[0].record()].concat();
    std::fs::write(&path, left).unwrap();
    kept.keep(all[1].clone()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), [all[0].record(), all[1].record()].concat());
}

#[test]
fn a_witness_that_is_gone_keeps_an_old_checkpoint_the_best_for_a_day_only() {
    const DAY: u64 = 24 * 60 * 60;
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path()).unwrap();
    for one in [cosignature(7, 1, 100), cosignature(7, 2, 101), cosignature(9, 1, 100 + DAY)] {
        kept.keep(one).unwrap();
    }
    assert_eq!((kept.best_above(0), kept.best_above(7)), (Some(7), Some(9)), "both are within a day");
    kept.keep(cosignature(11, 1, 102 + DAY)).unwrap();
    for kept in [&kept, &open(dir.path()).unwrap()] {
        assert_eq!((kept.best_above(0), kept.best_above(9), kept.best_above(11)), (Some(11), Some(11), None));
    }
    // The newest of all covers too little for an event behind it: those that cover it are held against one another.
    kept.keep(cosignature(5, 2, 100 + 3 * DAY)).unwrap();
    assert_eq!((kept.best_above(0), kept.best_above(5)), (Some(5), Some(11)));
}

#[test]
fn what_is_none_is_damage_and_left_as_it_is() {
    let good = cosignature(7, 1, 100).record();
    for (text, at) in [
        // A sign that no line begins with was no beginning of one.
        (format!("{good}x"), good.len()),
        (format!("{good}\n"), good.len()),
        (format!("{good}7 w1\n"), good.len()),
        (format!("x{good}"), 0),
        (format!("{good}{}", "7".repeat(RECORD_BYTES_MAX + 1)), good.len()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cosignatures");
        std::fs::write(&path, &text).unwrap();
        let opened = open(dir.path());
        let found = match opened {
            Err(TreeFileError::CosignaturesDamaged(found)) => Some(found),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        };
        assert_eq!((found, std::fs::read_to_string(&path).unwrap()), (Some(at as u64), text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn each_is_found_among_many(seed in 0u64..1_000, count in 1usize..3_500) {
        // Each witness goes up by steps of its own, so that sizes lie across one another.
        let mut sizes = [0_u64; 3];
        let mut state = seed;
        let all: Vec<Cosignature> = (0..count).map(|index| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let witness = usize::try_from(state >> 33).unwrap() % 3;
            sizes[witness] += 1 + (state >> 40) % 5;
            cosignature(sizes[witness], u8::try_from(witness).unwrap(), index as u64)
        }).collect();
        let dir = written(&all);
        let kept = open(dir.path()).unwrap();
        for size in (0..20).map(|step| 1 + step * sizes[0] / 20).chain([sizes[0], sizes[1], sizes[2], u64::MAX]) {
            let mut expected: Vec<_> = all.iter().filter(|one| one.size == size).cloned().collect();
            expected.sort_by(|one, other| one.key.cmp(&other.key));
            prop_assert_eq!(kept.over(size).unwrap(), expected);
        }
    }
}
