//! The page of a request: what was asked, what was found, what is gone, what is kept and why, and where copies are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::{Approval, Deed, RequestStatement, SaidOfRequest};
use super::{
    ELSEWHERE, WITH_THE_ANSWER, bundle, code, copies_of_keys, deliveries, got_a_copy, html_escaped, part, people, table,
};
use crate::event::saga::SkipReason;
use crate::event::subject::{KeptWhy, RequestEnd};
use crate::id::EntityId;

/// More records than these are counted and not named: the certificate has them all.
const NAMED_MAX: usize = 100;

pub(super) fn of_request(page: &mut String, statement: &RequestStatement, said: Option<&SaidOfRequest>) {
    asked(page, statement, said);
    found(page, statement);
    for run in &statement.runs {
        for (saga, disposed) in &run.sagas {
            part(page, *saga, disposed);
        }
    }
    refused(page, statement, said);
    remains(page, statement, said);
}

fn asked(page: &mut String, statement: &RequestStatement, said: Option<&SaidOfRequest>) {
    let none = |people: String| if people.is_empty() { "nobody yet".to_owned() } else { people };
    let mut rows = vec![
        ("Entered by", one(&statement.entered)),
        ("Identified by", none(people(&statement.identified))),
        ("Time for the answer made longer by", none(people(&statement.extended))),
        ("Answered by", none(statement.answered.as_ref().map(one).unwrap_or_default())),
    ];
    if let Some(said) = said {
        rows.push(("Received, as the daemon says", said.received_at.to_string()));
        rows.push(("To be answered until, as the daemon says", said.due_at.to_string()));
        let ground = said.ground.map_or("none is recorded", |ground| ground.name());
        rows.push(("Ground (GDPR Art. 17(1)), as the daemon says", ground.to_owned()));
        let end = said.end.map_or("not answered yet", |end| end.name());
        rows.push(("How it ended, as the daemon says", end.to_owned()));
    }
    table(page, "Asked", &rows);
}

fn found(page: &mut String, statement: &RequestStatement) {
    let destroyed: u64 = statement.runs.iter().flat_map(|run| run.sagas.values()).map(|saga| saga.destroyed).sum();
    let plan = |plan: &super::super::Planned| {
        let approvals = match plan.approvals.as_slice() {
            [] if plan.items == 0 => "nothing to approve".to_owned(),
            [] => "<b>no approval is in this certificate</b>".to_owned(),
            all => format!("approved by {}", people(all)),
        };
        let (items, kept) = (plan.items, plan.kept);
        format!(
            "{}: of {} records {items} to erase, {kept} kept; {approvals}<br>{}",
            plan.plan,
            plan.records,
            code(&plan.digest)
        )
    };
    let run = |run: &super::super::RunStatement| {
        let end = html_escaped(run.run_end.as_deref().unwrap_or("not over"));
        format!("{} of {}: {} erased, {} left alone, {end}", run.run, run.plan, run.purged, run.left_alone)
    };
    let runs = match statement.runs.as_slice() {
        [] => "none".to_owned(),
        all => all.iter().map(run).collect::<Vec<_>>().join("<br>"),
    };
    table(
        page,
        "Found and erased",
        &[
            ("Records identified", statement.records.to_string()),
            ("Plans", statement.plans.iter().map(plan).collect::<Vec<_>>().join("<br>")),
            ("Runs", runs),
            ("Keys destroyed and read back by these runs", destroyed.to_string()),
            ("Destructions of keys in this certificate, each proven", statement.destroyed.len().to_string()),
            ("Records", named(statement.destroyed.keys())),
        ],
    );
}

fn refused(page: &mut String, statement: &RequestStatement, said: Option<&SaidOfRequest>) {
    let mut why: BTreeMap<String, Vec<EntityId>> = BTreeMap::new();
    for (record, kept) in &statement.kept {
        why.entry(kept_for(*kept)).or_default().push(*record);
    }
    for (record, reason) in &statement.left_alone {
        why.entry(format!("left alone by the run: {}", left_for(*reason))).or_default().push(*record);
    }
    let mut rows: Vec<(String, String)> = why.into_iter().map(|(why, records)| (why, named(records.iter()))).collect();
    if rows.is_empty() {
        rows.push(("Nothing".to_owned(), "the newest plan left out no record that is still there".to_owned()));
    }
    let ended = |deed: &Deed| format!("exception ended by {} on {}", html_escaped(&deed.by), deed.at);
    for deed in &statement.excepted {
        let mut text = format!("by {} on {}", html_escaped(&deed.by), deed.at);
        if let Some(said) = said.and_then(|said| said.exceptions.iter().find(|said| said.exception == deed.event)) {
            let _ = write!(
                text,
                "; as the daemon says: {} (GDPR Art. 17(3)), {} records, to be looked at again on {}",
                said.ground.name(),
                said.records,
                said.review_at
            );
            if let Some(at) = said.ended_at {
                let _ = write!(text, ", ended on {at}");
            }
        }
        rows.push((format!("Exception {}", deed.event.0), text));
    }
    rows.extend(statement.exceptions_ended.iter().map(|deed| (format!("Event {}", deed.event.0), ended(deed))));
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    table(page, "Kept, and why", &rows);
}

fn remains(page: &mut String, statement: &RequestStatement, said: Option<&SaidOfRequest>) {
    let mut items = String::new();
    let kept = said.map(|said| said.copies.as_slice()).unwrap_or_default();
    for (saga, copies) in &statement.copies {
        let goes = match &statement.answered {
            Some(_) if said.is_some_and(|said| said.end == Some(RequestEnd::Withdrawn)) => {
                "stays, since the request was taken back, as the daemon says"
            }
            Some(answered) if copies.exported_at > answered.at => {
                "is destroyed 30 days after it was written, since the answer was given before, unless a hold covers it"
            }
            Some(_) | None => WITH_THE_ANSWER,
        };
        let _ = write!(items, "<li>{}</li>", bundle(*saga, copies, kept, goes));
    }
    for recipient in &statement.recipients {
        let by_hand = said.into_iter().flat_map(|said| &said.told_by_hand);
        let by_hand = by_hand.filter(|told| told.recipient == recipient.recipient).count();
        let told = match (recipient.told_at, by_hand) {
            (Some(at), _) => format!("told through a channel on {at}"),
            (None, 1..) => "told by a person, as the daemon says".to_owned(),
            (None, 0) => "<b>not told yet</b>".to_owned(),
        };
        let _ = write!(items, "<li>{}: {told}.</li>", got_a_copy(recipient));
    }
    deliveries(&mut items, said.map(|said| said.deliveries.as_slice()).unwrap_or_default());
    let compacted = match statement.compacted_at {
        Some(at) => format!("What was destroyed left the disk with the compaction of {at}."),
        None if statement.destroyed.is_empty() => "No destruction of a key is in this certificate.".to_owned(),
        None => {
            "The ciphertext is still on the disk, and nobody can open it: no compaction was recorded since.".to_owned()
        }
    };
    let _ = write!(
        page,
        "<h2>What may be left</h2>\n<ul>{items}<li>{compacted}</li><li>{}</li><li>{ELSEWHERE}</li></ul>\n",
        copies_of_keys(statement.copies_of_keys_until)
    );
}

fn one(approval: &Approval) -> String {
    people(std::slice::from_ref(approval))
}

fn named<'a>(records: impl ExactSizeIterator<Item = &'a EntityId>) -> String {
    let more = records.len().saturating_sub(NAMED_MAX);
    let mut names: Vec<String> = records.take(NAMED_MAX).map(EntityId::to_string).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn kept_for(why: KeptWhy) -> String {
    match why {
        KeptWhy::Held => "A legal hold covers it".to_owned(),
        KeptWhy::Restricted => "Its use is restricted".to_owned(),
        KeptWhy::Until { until } => format!("The law that a policy rests on keeps it until {until}"),
        KeptWhy::Excepted => "An exception keeps it".to_owned(),
        KeptWhy::Undecided => "A policy could not be evaluated, or is suspended".to_owned(),
        KeptWhy::InAnotherRun => "It is in the hands of another run".to_owned(),
        KeptWhy::Changed => "It changed meanwhile".to_owned(),
        KeptWhy::TakenOut => "A person took it out of the run".to_owned(),
    }
}

fn left_for(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Changed => "it changed meanwhile",
        SkipReason::Held => "a legal hold covers it",
        SkipReason::Restricted => "its use is restricted",
        SkipReason::NotDue => "something keeps it by now",
        SkipReason::Gone => "it was gone",
        SkipReason::Restored => "a person took it out of the run",
        SkipReason::InAnotherRun => "it is in the hands of another run",
    }
}
