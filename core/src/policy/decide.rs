//! All policies against one entity at an instant: who wins, and why.
//!
//! The order is in [`precedence`]. The keepers among the policies protect an entity from every policy, not only from
//! their own: a rule that could not be read might have been the one that keeps it. Only enforced policies take part;
//! simulated ones are shown.

use std::sync::Arc;

use super::assess::{Assessment, BoundPolicy, Facts};
use super::precedence::{self, Rank, Voice};
use super::review;
use super::{Action, Policy, PolicySet, State};
use crate::event::subject::ERASURE_POLICY;
use crate::id::{HoldId, Position, RequestId, RestrictionId};
use crate::reason::{Reason, StartKind};
use crate::record::Layout;
use crate::time::Timestamp;
use crate::view::reviews::Reviewed;

/// Where an entity stands apart from policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
    /// Whether its use is restricted.
    pub restriction: Restriction,
    /// Of a month of the log: where it stands that something was begun which is not over, so that what was written in
    /// it is needed.
    pub needed: Option<Position>,
    /// The request of a data subject by whose exception it is kept (GDPR Art. 17(3)): from everybody.
    pub excepted: Option<RequestId>,
    /// What persons decided of it, the newest decision for each policy.
    pub reviews: Vec<Reviewed>,
    /// Where it is.
    pub place: Place,
}

impl Standing {
    /// Nothing stands in the way.
    pub const FREE: Self = Self {
        holds: Vec::new(),
        restriction: Restriction::None,
        needed: None,
        excepted: None,
        reviews: Vec::new(),
        place: Place::Live,
    };
}

/// Whether the use of an entity is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// It is not.
    None,
    /// It is, by a person (GDPR Art. 18): it is kept.
    Restricted,
    /// It is, by a policy: it may be disposed of.
    ByPolicy(RestrictionId),
    /// It was, by a policy, and a person brought it back into use since it was last changed.
    Lifted(RestrictionId),
}

/// Where an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In use.
    Live,
    /// In quarantine, waiting for a purge that was approved: no other run may take it. The run that put it there
    /// asks again with [`Place::Live`].
    Quarantined,
    /// Purged or erased.
    Gone,
}

/// What becomes of an entity at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why: the reason that decides.
    pub reason: Reason,
    /// Other reasons that would decide the same, in the order of precedence; where a restriction is due, what keeps
    /// from disposal beside it.
    pub also: Vec<Reason>,
    /// What each policy that is enforced or simulated says, ordered by id; those about other entities are left out.
    pub policies: Vec<Assessed>,
}

impl Decision {
    /// Returns all reasons, the deciding one first: never empty.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        std::iter::once(&self.reason).chain(&self.also)
    }
}

/// What one policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// The policy.
    pub policy: String,
    /// Whether it takes part.
    pub state: State,
    /// What it says.
    pub reason: Reason,
    /// Whether it counts from the date that it falls back to.
    pub is_fallback: bool,
    /// Until when its `min_keep` protects the entity, also from other policies.
    pub keep_until: Option<Timestamp>,
}

/// What becomes of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stays.
    Keep,
    /// It may be disposed of.
    Due {
        /// The policy under which.
        policy: String,
        /// Where its period starts.
        start: StartKind,
        /// That instant.
        start_at: Timestamp,
        /// The first instant at which it was due.
        due_at: Timestamp,
        /// Whether `start` is the fallback that the policy allows.
        is_fallback: bool,
    },
}

/// What a data subject asked for, as far as it is about one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The request.
    pub request: RequestId,
    /// When it was received.
    pub received_at: Timestamp,
    /// What it says of the entity.
    pub claim: Claim,
}

/// What a request for erasure says of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is to be erased.
    Erase,
    /// It is excepted.
    Excepted,
    /// Nothing, or nothing any more.
    None,
}

/// All policies of a set that may act or be shown, bound to one layout, ordered by id.
#[derive(Debug, Clone)]
pub struct BoundSet {
    policies: Vec<BoundPolicy>,
}

impl PolicySet {
    /// Resolves the fields of all policies to the columns of a layout.
    #[must_use]
    pub fn bind(&self, layout: &Layout) -> BoundSet {
        BoundSet { policies: self.policies().iter().map(|policy| policy.bind(layout)).collect() }
    }

    /// Decides about one entity. For many entities of one layout, bind once and use [`BoundSet::decide`].
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Decision {
        self.bind(facts.layout).decide(facts, standing, now)
    }

    /// Says whether one policy would dispose of an entity now; `None` when the set has no such policy.
    #[must_use]
    pub fn decide_for(&self, id: &str, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Option<Decision> {
        self.bind(facts.layout).decide_for(id, facts, standing, now)
    }
}

impl BoundSet {
    /// Returns the bound policies, ordered by id, drafts included.
    #[must_use]
    pub fn policies(&self) -> &[BoundPolicy] {
        &self.policies
    }

    /// Says whether a policy counts only some activities, so that it has to be known which there were.
    #[must_use]
    pub fn tells_activities_apart(&self) -> bool {
        let mut policies = self.policies.iter().filter(|bound| !bound.is_elsewhere());
        policies.any(|bound| bound.policy().retention.activity_events.is_some())
    }

    /// Decides about one entity under all enforced policies.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Decision {
        conclude(&self.views(facts, None, standing, now), None, standing, now)
    }

    /// Decides whether one policy would dispose of an entity now, whatever that policy's state is: the keepers among
    /// the enforced policies still protect, but no other policy can make it due. `None` when there is no such policy.
    #[must_use]
    pub fn decide_for(&self, id: &str, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Option<Decision> {
        self.policies.iter().find(|bound| bound.policy().id == id)?;
        Some(conclude(&self.views(facts, Some(id), standing, now), Some(id), standing, now))
    }

    /// Decides whether a request for erasure disposes of an entity now. The keepers among the enforced policies
    /// protect, since the law that they rest on is an exception by itself; their periods alone do not.
    #[must_use]
    pub fn decide_asked(&self, asked: &Asked, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Decision {
        let views = self.views(facts, None, standing, now);
        let policies = views.iter().map(|view| view.assessed(now)).collect();
        let Asked { request, received_at, claim } = *asked;
        let (rank, reason) = match claim {
            Claim::Erase => (Rank::ErasureRequested, Reason::ErasureRequested { request, received_at }),
            Claim::Excepted => (Rank::Excepted, Reason::Excepted { request }),
            Claim::None => (Rank::NoPolicy, Reason::NotAsked { request }),
        };
        let mut voices = standing_voices(standing);
        voices.extend(keepers(&views, None, &Bound::All, now));
        voices.push(Voice { rank, reason, policy: None });
        let mut voices = precedence::weigh(voices).into_iter();
        let strongest = voices.next();
        let outcome = match &strongest {
            Some(voice) if voice.rank == Rank::ErasureRequested => Outcome::Due {
                policy: ERASURE_POLICY.to_owned(),
                start: StartKind::Requested,
                start_at: received_at,
                due_at: received_at,
                is_fallback: false,
            },
            Some(_) | None => Outcome::Keep,
        };
        let reason = strongest.map_or(Reason::NoPolicy, |voice| voice.reason);
        let also = voices.filter(|voice| voice.rank.keeps()).map(|voice| voice.reason).collect();
        Decision { outcome, reason, also, policies }
    }

    /// Assesses under every policy that takes part or is shown.
    fn views<'a>(
        &'a self,
        facts: &Facts<'a>,
        asked: Option<&str>,
        standing: &'a Standing,
        now: Timestamp,
    ) -> Vec<View<'a>> {
        self.policies
            .iter()
            .filter(|bound| bound.policy().state != State::Draft || asked == Some(bound.policy().id.as_str()))
            .map(|bound| {
                let assessment = bound.assess(facts);
                let review = review::standing(bound.policy(), &assessment, &standing.reviews, now);
                View { bound, assessment, review, restriction: standing.restriction }
            })
            .filter(|view| view.assessment != Assessment::OutOfScope || asked == Some(view.id()))
            .collect()
    }
}

/// Decides under one policy alone.
pub(super) fn decide_alone(policy: &Arc<Policy>, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> Decision {
    let set = BoundSet { policies: vec![policy.bind(facts.layout)] };
    conclude(&set.views(facts, Some(&policy.id), standing, now), Some(&policy.id), standing, now)
}

struct View<'a> {
    bound: &'a BoundPolicy,
    assessment: Assessment<'a>,
    review: review::Standing<'a>,
    restriction: Restriction,
}

impl<'a> View<'a> {
    fn assessed(&self, now: Timestamp) -> Assessed {
        let is_fallback = matches!(self.assessment, Assessment::Due { is_fallback: true, .. });
        Assessed {
            policy: self.id().to_owned(),
            state: self.state(),
            reason: self.reason(now),
            is_fallback,
            keep_until: self.assessment.keep_until(),
        }
    }

    fn voice(&self, rank: Rank, now: Timestamp) -> Voice<'a> {
        Voice { rank, reason: self.reason(now), policy: Some(self.id()) }
    }

    fn restricts(&self) -> bool {
        self.bound.policy().action == Action::Restrict
    }

    /// Returns why a restriction that is due would change nothing.
    fn unrestricted(&self) -> Option<Reason> {
        if !self.restricts() {
            return None;
        }
        match self.restriction {
            Restriction::None | Restriction::Restricted => None,
            Restriction::ByPolicy(restriction) => Some(Reason::UseEnded { restriction }),
            Restriction::Lifted(restriction) => Some(Reason::BackInUse { restriction }),
        }
    }

    /// Returns what the policy says: its assessment, unless a person has to decide, or did, or nothing is left to do.
    fn reason(&self, now: Timestamp) -> Reason {
        let due_at = match self.assessment {
            Assessment::Due { due_at, .. } => Some(due_at),
            _ => None,
        };
        // Without a date to count from only a person could say when, and only where the policy lets one.
        let is_time = due_at.map_or(!matches!(self.review, review::Standing::NotAsked), |due_at| due_at <= now);
        if is_time && let Some(reason) = self.unrestricted() {
            return reason;
        }
        match self.review {
            // A period that runs for longer than a person keeps it says more.
            review::Standing::Kept(reviewed, until) if due_at.is_none_or(|due_at| due_at < until) => {
                Reason::KeptByReview { review: reviewed.review, by: reviewed.by, until }
            }
            review::Standing::Waits if due_at.is_none_or(|due_at| due_at <= now) => Reason::ReviewNeeded { due_at },
            review::Standing::Disposed(Reviewed { at, .. }) if due_at.is_none() => {
                Reason::PeriodOver { start: StartKind::Reviewed, start_at: *at, due_at: *at }
            }
            review::Standing::NotAsked
            | review::Standing::Waits
            | review::Standing::Kept(..)
            | review::Standing::Disposed(_) => self.assessment.reason(now),
        }
    }

    fn id(&self) -> &'a str {
        &self.bound.policy().id
    }

    fn state(&self) -> State {
        self.bound.policy().state
    }

    fn takes_part(&self, asked: Option<&str>) -> bool {
        self.state() == State::Enforce || asked == Some(self.id())
    }

    /// Returns the key of precedence among due policies: the earliest due, then the first id.
    fn due(&self, now: Timestamp) -> Option<(Timestamp, &'a str)> {
        let decided_at = match self.review {
            review::Standing::Waits | review::Standing::Kept(..) => return None,
            review::Standing::Disposed(reviewed) => Some(reviewed.at),
            review::Standing::NotAsked => None,
        };
        if self.unrestricted().is_some() {
            return None;
        }
        match self.assessment {
            Assessment::Due { due_at, .. } if due_at <= now => Some((due_at, self.id())),
            Assessment::NoStart { .. } => decided_at.map(|at| (at, self.id())),
            Assessment::Due { .. }
            | Assessment::OutOfScope
            | Assessment::CannotEvaluate { .. }
            | Assessment::NotRedacted { .. }
            | Assessment::Suspended => None,
        }
    }

    fn outcome(&self) -> Outcome {
        match self.assessment {
            Assessment::Due { start, start_at, due_at, is_fallback, .. } => {
                Outcome::Due { policy: self.id().to_owned(), start: start.clone(), start_at, due_at, is_fallback }
            }
            Assessment::NoStart { .. } => match self.review {
                review::Standing::Disposed(Reviewed { at, .. }) => Outcome::Due {
                    policy: self.id().to_owned(),
                    start: StartKind::Reviewed,
                    start_at: *at,
                    due_at: *at,
                    is_fallback: true,
                },
                review::Standing::NotAsked | review::Standing::Waits | review::Standing::Kept(..) => Outcome::Keep,
            },
            Assessment::OutOfScope
            | Assessment::CannotEvaluate { .. }
            | Assessment::NotRedacted { .. }
            | Assessment::Suspended => Outcome::Keep,
        }
    }
}

/// Weighs what the policies say. With a policy asked for, only that one may dispose of the entity.
fn conclude(views: &[View<'_>], asked: Option<&str>, standing: &Standing, now: Timestamp) -> Decision {
    let policies = views.iter().map(|view| view.assessed(now)).collect();
    let may_dispose = |view: &&View<'_>| asked.map_or(view.state() == State::Enforce, |id| id == view.id());
    let mut voices = standing_voices(standing);
    let due = || views.iter().filter(may_dispose).filter(|view| view.due(now).is_some());
    let mut earliest = due().min_by_key(|view| view.due(now));
    let bound = earliest.map_or(Bound::None, |view| Bound::Others(view.id()));
    let mut kept = keepers(views, asked, &bound, now);
    let mut beside = Vec::new();
    // A restriction destroys nothing, so what other policies keep is kept by it, too. It is told all the same.
    if !kept.is_empty()
        && let Some(restriction) = due().filter(|view| view.restricts()).min_by_key(|view| view.due(now))
    {
        earliest = Some(restriction);
        let own = |voice: &Voice<'_>| voice.policy == Some(restriction.id());
        (kept, beside) = kept.into_iter().partition(own);
    }
    voices.extend(kept);
    // Of what may be disposed of, the earliest alone speaks; while nothing is due, all say why not.
    match earliest {
        Some(view) => voices.push(view.voice(Rank::Due, now)),
        None => voices.extend(views.iter().filter(may_dispose).map(|view| view.voice(Rank::NotDue, now))),
    }
    let voices = precedence::weigh(voices);
    let strongest = voices.first().map_or(Rank::NoPolicy, |voice| voice.rank);
    let outcome = match (strongest, earliest) {
        (Rank::Due, Some(view)) => view.outcome(),
        _ => Outcome::Keep,
    };
    // What is weaker than a reason to keep is no reason: a keeper says nothing of what would be due without it, and
    // what keeps for another reason is shown beside it.
    let says = |rank: Rank| rank < Rank::Due || strongest >= Rank::Due;
    let mut reasons: Vec<Reason> = Vec::new();
    for voice in voices.into_iter().filter(|voice| says(voice.rank)) {
        if voice.rank != Rank::Suspended || !reasons.contains(&voice.reason) {
            reasons.push(voice.reason);
        }
    }
    reasons.extend(precedence::weigh(beside).into_iter().map(|voice| voice.reason));
    let mut reasons = reasons.into_iter();
    let reason = reasons.next().unwrap_or(Reason::NoPolicy);
    Decision { outcome, reason, also: reasons.collect(), policies }
}

/// The reasons to keep that stand apart from all policies.
fn standing_voices(standing: &Standing) -> Vec<Voice<'static>> {
    let voice = |rank, reason| Voice { rank, reason, policy: None };
    let mut voices: Vec<Voice<'static>> =
        standing.holds.iter().map(|hold| voice(Rank::Held, Reason::Held { hold: *hold })).collect();
    match standing.place {
        Place::Live => {}
        Place::Gone => voices.push(voice(Rank::Gone, Reason::Gone)),
        Place::Quarantined => voices.push(voice(Rank::InQuarantine, Reason::InQuarantine)),
    }
    if standing.restriction == Restriction::Restricted {
        voices.push(voice(Rank::Restricted, Reason::Restricted));
    }
    voices.extend(standing.needed.map(|by| voice(Rank::StillNeeded, Reason::StillNeeded { by })));
    voices.extend(standing.excepted.map(|request| voice(Rank::Excepted, Reason::Excepted { request })));
    voices
}

/// Which minima bind what would dispose of an entity.
enum Bound<'a> {
    /// None: nothing would.
    None,
    /// Those of other policies: a policy's own minimum is part of its due date.
    Others(&'a str),
    /// Those of all policies.
    All,
}

/// The reasons to keep that policies give.
fn keepers<'a>(views: &[View<'a>], asked: Option<&str>, bound: &Bound<'_>, now: Timestamp) -> Vec<Voice<'a>> {
    let taking_part = || views.iter().filter(|view| view.takes_part(asked));
    let mut voices: Vec<Voice<'a>> = taking_part()
        .filter_map(|view| match view.assessment {
            Assessment::CannotEvaluate { .. } => Some(view.voice(Rank::CannotEvaluate, now)),
            Assessment::Suspended => Some(view.voice(Rank::Suspended, now)),
            Assessment::NoStart { .. } if view.bound.policy().retention.min_keep.is_some() => {
                Some(view.voice(Rank::UnknownMinimum, now))
            }
            Assessment::NoStart { .. }
            | Assessment::OutOfScope
            | Assessment::NotRedacted { .. }
            | Assessment::Due { .. } => None,
        })
        .collect();
    let is_bound = |view: &&View<'_>| match bound {
        Bound::None => false,
        Bound::Others(own) => *own != view.id(),
        Bound::All => true,
    };
    // The longest is what counts.
    let longest = taking_part()
        .filter(is_bound)
        .filter_map(|view| view.assessment.keep_until().filter(|until| *until > now).map(|until| (until, view.id())))
        .max();
    voices.extend(longest.map(|(until, policy)| Voice {
        rank: Rank::KeptByPolicy,
        reason: Reason::KeptByPolicy { policy: policy.to_owned(), until },
        policy: Some(policy),
    }));
    voices
}
