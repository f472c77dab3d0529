//! What a run destroyed, and what can still be brought back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::ActorName;
use crate::id::{Digest, EntityId, PlanId, RunId, SagaId};
use crate::time::Timestamp;
use crate::view::RunState;

/// What a run did, told for the case that it should not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// The run.
    pub run: RunId,
    /// Where it stands.
    pub state: RunState,
    /// The plan that it carries out.
    pub plan: PlanId,
    /// What was accepted: SHA-256 of the plan.
    pub plan_digest: Option<Digest>,
    /// The policy.
    pub policy: String,
    /// SHA-256 of the policy as it was then.
    pub policy_digest: Option<Digest>,
    /// Who asked for the run.
    pub requested_by: ActorName,
    /// Who accepted the plan.
    pub approved_by: Vec<ActorName>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How many items it was to carry out.
    #[serde(default)]
    pub items: u64,
    /// How many entities it purged.
    pub purged: u64,
    /// Of how many of these what is left lives on: only some of their fields were taken out.
    #[serde(default)]
    pub redacted: u64,
    /// Of how many the use ended: they are kept, and not shown.
    #[serde(default)]
    pub restricted: u64,
    /// How many it left alone.
    pub left_alone: u64,
    /// How many are only hidden, and can be taken back.
    pub hidden: u64,
    /// How many of those that were purged have a copy in a bundle that is there.
    pub with_copy: u64,
    /// Of how many of these the bundle is encrypted: who has a key can open it, and the daemon has none.
    pub encrypted: u64,
    /// Its parts, in order.
    pub parts: Vec<IncidentPart>,
    /// The same in sentences, with what to do now.
    pub text: Vec<String>,
}

/// What one saga of a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentPart {
    /// The saga.
    pub saga: SagaId,
    /// The mailbox of its items.
    pub mailbox: Option<EntityId>,
    /// How many entities it purged.
    pub purged: u64,
    /// How many of its items are only hidden.
    pub hidden: u64,
    /// Until when they can be taken back at least.
    pub hidden_until: Option<Timestamp>,
    /// The bundle with copies of them: SHA-256 of its manifest.
    pub bundle: Option<Digest>,
    /// What became of that.
    pub copy: CopyState,
}

/// What became of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// None was written.
    None,
    /// It is in the exports directory. Whether it is as it was, `export verify` says.
    There,
    /// It is not in the exports directory, and nobody said that it may go.
    Missing,
    /// It was destroyed: its time was over, or its data subject had the answer.
    Destroyed,
}

impl Incident {
    /// Puts it into sentences: what happened, what can be brought back, and what to do now.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let Self { run, plan, policy, purged, hidden, with_copy, .. } = self;
        let approved = match self.approved_by.as_slice() {
            [] => "nobody: none had to".to_owned(),
            all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let mut lines = vec![
            format!("{run} carries out {plan} of policy {policy}; it is {}.", self.state.name()),
            format!("It was asked for by {}; the plan was accepted by {approved}.", self.requested_by),
            format!("It {} and left {} alone; {hidden} are only hidden.", self.deed(), self.left_alone),
        ];
        let others = self.items.saturating_sub(purged + self.restricted + self.left_alone);
        if self.state == RunState::Cancelled && others > 0 {
            lines.push(format!("The other {others} of its {} items are as they were.", self.items));
        }
        if self.is_going_on() {
            lines.push(format!("It is not over. Stop it now: retentionctl run cancel {run} --reason …"));
        }
        if *hidden > 0 {
            lines.push(
                "What is hidden can be taken back: retentionctl quarantine list, then quarantine restore.".to_owned(),
            );
        }
        if self.restricted > 0 {
            lines.push(
                "Nothing of them is destroyed. They are brought back into use by: retentionctl restriction list, then \
                 restriction lift."
                    .to_owned(),
            );
        }
        let lost = purged.saturating_sub(*with_copy);
        let what = if self.redacted > 0 { "redacted" } else { "purged" };
        match (*purged, *with_copy) {
            (0, _) => {}
            (_, 0) => {
                lines.push(format!("Of what was {what} there is no copy here: look in older exports and at the source."));
            }
            (_, with_copy) => lines.push(format!(
                "Of what was {what}, {with_copy} have a copy in a bundle: verify it (retentionctl export verify), keep it (a hold \
                 on its policy), and hand it back to the source."
            )),
        }
        if self.encrypted > 0 {
            lines.push(format!(
                "The copies of {} are encrypted, and nothing here can open them: ask a keyholder (manifest.json of the bundle has \
                 their public keys) to verify them (retentionctl export verify DIRECTORY --identity KEY) and to open each file \
                 with age --decrypt.",
                self.encrypted
            ));
        }
        if lost > 0 && *with_copy > 0 {
            lines.push(format!("{lost} have no copy here any more."));
        }
        for part in self.parts.iter().filter(|part| part.copy == CopyState::Missing) {
            let manifest = part.bundle.map(|digest| digest.short()).unwrap_or_default();
            lines.push(format!(
                "The bundle {manifest} is missing from the exports directory, and nobody said that it may go."
            ));
        }
        if *purged > 0 {
            lines.push(format!(
                "Their keys are destroyed: nothing here opens them again. What was decided is in the log: retentionctl audit query \
                 --run {run} --oldest-first."
            ));
        }
        lines
    }

    /// Says what it did to what it carried out: all items of a run have the same end.
    fn deed(&self) -> String {
        match (self.restricted, self.redacted) {
            (0, 0) => format!("purged {} entities", self.purged),
            (0, redacted) => format!("took fields out of {redacted} entities, of which the rest has new numbers,"),
            (restricted, _) => format!("ended the use of {restricted} entities"),
        }
    }

    fn is_going_on(&self) -> bool {
        match self.state {
            RunState::Requested | RunState::Running | RunState::Paused | RunState::Cancelling => true,
            RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Actor;
    use crate::id::Position;

    fn incident(state: RunState) -> Incident {
        Incident {
            run: RunId(Position(7)),
            state,
            plan: PlanId(Position(5)),
            plan_digest: None,
            policy: "contacts".to_owned(),
            policy_digest: None,
            requested_by: ActorName(Actor::Schedule),
            approved_by: Vec::new(),
            started_at: None,
            ended_at: None,
            items: 9,
            purged: 0,
            redacted: 0,
            restricted: 0,
            left_alone: 1,
            hidden: 0,
            with_copy: 0,
            encrypted: 0,
            parts: Vec::new(),
            text: Vec::new(),
        }
    }

    #[test]
    fn what_was_not_purged_is_not_told_as_purged() {
        let told = |incident: Incident| incident.sentences().join("\n");
        let purged = told(Incident { purged: 3, ..incident(RunState::Completed) });
        assert!(purged.contains("It purged 3 entities and left 1 alone; 0 are only hidden."), "{purged}");
        let redacted = told(Incident { purged: 3, redacted: 3, with_copy: 3, ..incident(RunState::Completed) });
        assert!(redacted.contains("took fields out of 3 entities") && redacted.contains("Of what was redacted, 3"));
        assert!(!redacted.contains("encrypted"), "{redacted}");
        let sealed = told(Incident { purged: 3, with_copy: 3, encrypted: 2, ..incident(RunState::Completed) });
        assert!(sealed.contains("The copies of 2 are encrypted, and nothing here can open them"), "{sealed}");
        let restricted = told(Incident { restricted: 3, ..incident(RunState::Completed) });
        assert!(restricted.contains("ended the use of 3 entities") && restricted.contains("restriction lift"));
        assert!(!redacted.contains("purged") && !restricted.contains("purged"), "{redacted}\n{restricted}");
    }

    #[test]
    fn what_a_cancelled_run_did_not_come_to_is_as_it_was() {
        let cancelled = Incident { purged: 3, ..incident(RunState::Cancelled) }.sentences().join("\n");
        assert!(cancelled.contains("The other 5 of its 9 items are as they were."), "{cancelled}");
        let over = Incident { purged: 8, ..incident(RunState::Completed) }.sentences().join("\n");
        assert!(!over.contains("The other"), "{over}");
    }
}
