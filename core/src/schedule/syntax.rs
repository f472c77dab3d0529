//! The five fields as people write them, turned into the six fields of the crate as plain lists.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A schedule could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Too few or too many fields.
    #[error(
        "a schedule has five fields (minute hour day-of-month month weekday), this one has {0}: \
         seconds, years and @macros are not part of it"
    )]
    FieldCount(usize),
    /// A field is not of the form.
    #[error(
        "the {field} field is not understood: expected *, */step, a value, a range a-b, a-b/step, or a comma list of them, \
         with values {expected}"
    )]
    Field {
        /// Which one.
        field: &'static str,
        /// Its values.
        expected: &'static str,
    },
    /// A range that runs backwards.
    #[error("the {field} field has a range that runs backwards: write it as a list, such as fri,sat,sun,mon")]
    Backwards {
        /// Which one.
        field: &'static str,
    },
    /// A weekday as a number.
    #[error(
        "weekdays are written as names, because cron dialects count them differently: \
         instead of {number} write {name} if you mean what Unix cron means"
    )]
    WeekdayNumber {
        /// What was written.
        number: String,
        /// Its name in Unix cron.
        name: &'static str,
    },
    /// A day of the month beside a weekday.
    #[error(
        "day of month and weekday are both restricted: Unix cron fires when either matches, others when both do; \
         restrict one of them and leave the other *"
    )]
    BothDays,
    /// No day ever matches.
    #[error("the schedule never fires: no month has such a day")]
    Never,
    /// The crate refused what this module wrote.
    #[error("the schedule is not understood")]
    Unreadable,
}

struct Field {
    name: &'static str,
    expected: &'static str,
    min: u8,
    max: u8,
    /// Names of the values from `min` on, or none.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MINUTE: Field = Field { name: "minute", expected: "0-59", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "hour", expected: "0-23", min: 0, max: 23, names: &[] };
const DAY: Field = Field { name: "day-of-month", expected: "1-31", min: 1, max: 31, names: &[] };
const MONTH: Field = Field { name: "month", expected: "1-12 or jan-dec", min: 1, max: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "weekday", expected: "sun-sat", min: 0, max: 6, names: &WEEKDAYS };

/// The longest schedule that is looked at, in bytes: every minute of an hour as a list fits.
const TEXT_MAX: usize = 512;

/// Turns five fields into the crate's six, every value spelled out, so that none of the crate's own readings matter.
pub(super) fn to_crate_syntax(text: &str) -> Result<String, ScheduleError> {
    if text.len() > TEXT_MAX {
        return Err(ScheduleError::Unreadable);
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = *fields.as_slice() else {
        return Err(ScheduleError::FieldCount(fields.len()));
    };
    refuse_weekday_numbers(weekday)?;
    let lists =
        [MINUTE.list(minute)?, HOUR.list(hour)?, DAY.list(day)?, MONTH.list(month)?, WEEKDAY.weekday_list(weekday)?];
    if day != "*" && weekday != "*" {
        return Err(ScheduleError::BothDays);
    }
    Ok(format!("0 {}", lists.join(" ")))
}

fn refuse_weekday_numbers(text: &str) -> Result<(), ScheduleError> {
    for item in text.split([',', '-']) {
        let digits = item.split('/').next().unwrap_or_default();
        if let Ok(number) = digits.parse::<usize>() {
            let name = WEEKDAYS.get(number % WEEKDAYS.len()).copied().unwrap_or("sun");
            return Err(ScheduleError::WeekdayNumber { number: number.to_string(), name });
        }
    }
    Ok(())
}

impl Field {
    fn list(&self, text: &str) -> Result<String, ScheduleError> {
        if text == "*" {
            return Ok("*".to_owned());
        }
        let values = self.values(text)?;
        Ok(values.iter().map(u8::to_string).collect::<Vec<_>>().join(","))
    }

    /// Like [`Self::list`], in names: the crate's numbers start elsewhere. Steps are refused with the form.
    fn weekday_list(&self, text: &str) -> Result<String, ScheduleError> {
        if text == "*" {
            return Ok("*".to_owned());
        }
        if text.contains('/') {
            return Err(self.error());
        }
        let mut list = String::new();
        for name in self.values(text)?.iter().filter_map(|value| self.names.get(usize::from(*value))) {
            let _ = write!(list, "{}{name}", if list.is_empty() { "" } else { "," });
        }
        Ok(list)
    }

    fn values(&self, text: &str) -> Result<BTreeSet<u8>, ScheduleError> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            let (span, step) = match item.split_once('/') {
                Some((span, step)) => (span, Some(self.step(step)?)),
                None => (item, None),
            };
            let (first, last) = match span.split_once('-') {
                _ if span == "*" => (self.min, self.max),
                Some((first, last)) => (self.value(first)?, self.value(last)?),
                // `5/15` means different things in different dialects.
                None if step.is_some() => return Err(self.error()),
                None => (self.value(span)?, self.value(span)?),
            };
            if first > last {
                return Err(ScheduleError::Backwards { field: self.name });
            }
            values.extend((first..=last).step_by(step.unwrap_or(1)));
        }
        Ok(values)
    }

    fn step(&self, text: &str) -> Result<usize, ScheduleError> {
        self.number(text).filter(|step| (1..=self.max).contains(step)).map(usize::from).ok_or(self.error())
    }

    fn value(&self, text: &str) -> Result<u8, ScheduleError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => u8::try_from(index).ok().and_then(|index| self.min.checked_add(index)),
            None => self.number(text),
        };
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or(self.error())
    }

    fn number(&self, text: &str) -> Option<u8> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
    }

    fn error(&self) -> ScheduleError {
        ScheduleError::Field { field: self.name, expected: self.expected }
    }
}
