//! What a policy for months of the log may say: it erases evidence, so not before nobody can need it.

use crate::policy::syntax::{Reader, Span};
use crate::policy::{Action, OnMissingStart, Retention};
use crate::reason::StartKind;
use crate::time::Period;

/// The shortest time for which people can read what they wrote: an approval counts for up to a year.
const YEARS_MIN: u32 = 1;

/// Checks what is said beside `kind = "audit_month"`.
pub(super) fn check(r: &mut Reader<'_>, at: &Span, retention: &Retention, action: Option<&Action>) {
    let periods = std::iter::once(retention.period).chain(retention.overrides.iter().map(|part| part.period));
    let starts = std::iter::once(&retention.start).chain(retention.overrides.iter().map(|part| &part.start));
    let least = Period::from_years(YEARS_MIN);
    for period in periods {
        if !least.as_ref().is_ok_and(|least| period.is_at_least(*least)) {
            let problem = "must be at least P1Y for kind = \"audit_month\": who asked for a purge, who accepted it and \
                           why must be readable while anybody can ask, and an approval alone counts for up to a year";
            r.bad_value(at, "period", problem);
        }
    }
    for start in starts {
        if *start != StartKind::Closed {
            let problem = "must be closed for kind = \"audit_month\": the period counts from the end of the month";
            r.bad_value(at, "start", problem);
        }
    }
    if retention.on_missing_start != OnMissingStart::Keep {
        r.bad_value(at, "on_missing_start", "must be keep for kind = \"audit_month\": every month has an end");
    }
    if retention.max_keep.is_some() {
        let problem = "stands in no policy with kind = \"audit_month\": it counts from when the month got its key, not \
                       from its end";
        r.bad_value(at, "max_keep", problem);
    }
    match action {
        Some(Action::Purge { .. } | Action::Review { .. }) | None => {}
        Some(Action::Redact { .. } | Action::Restrict) => {
            let problem =
                "must be purge or review for kind = \"audit_month\": its texts are erased together, by their key";
            r.bad_value(at, "action", problem);
        }
    }
}
