//! A date of other people: read twice it says the same, says an instant or why there is none, and without a zone it is the latest.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use retention_core::time::iso::parse_iso;
use retention_fuzz::Input;
use retentiond::connector::drop::date::{DateFormat, Found, mapped, ocm_day, ocm_stream, ocm_utc, parse_czech};

/// From then on no zone is further from UTC than the reader supposes: 1900.
const ZONES_KNOWN_US: i64 = -2_208_988_800_000_000;

fn assert_later(without: Found, with: Found) {
    if let (Some(without), Some(with)) = (without.at, with.at)
        && with.0 > ZONES_KNOWN_US
    {
        assert!(without >= with, "a zone moves {with:?} behind {without:?}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let zone = input.one_of(&["UTC", "Europe/Prague", "America/Adak", "Pacific/Kiritimati", "Asia/Kathmandu"]);
    let zone = TimeZone::get(zone).expect("a zone");
    let length = usize::from(input.byte());
    let pattern = DateFormat::Pattern(String::from_utf8_lossy(input.take(length)).into_owned());
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let _parsed = (parse_iso(text), parse_czech(text));
    for read in [ocm_utc, ocm_stream, ocm_day] {
        let (without, with) = (read(text, None), read(text, Some(&zone)));
        assert!(with.at.is_some() || with.defect.is_some(), "{text:?} is neither read nor odd");
        assert_eq!(with, read(text, Some(&zone)));
        assert_later(without, with);
    }
    for format in [DateFormat::Iso, DateFormat::Czech, pattern] {
        let with = mapped(text, &format, Some(&zone));
        assert!(with.found.at.is_some() || (with.found.defect.is_some() && with.iso.is_none()));
        // What the file writes in a form of its own stands in the record in ISO form, and that is read as no other day.
        if let Some(iso) = with.iso {
            let again = mapped(&iso, &DateFormat::Iso, Some(&zone));
            assert_eq!(again.found.at, with.found.at, "{text:?} became {iso:?}");
        }
    }
});
