//! Samples of what people are told.

use retention_core::event::notice::{
    DeclaredChannel, Notice, NoticeAcknowledged, NoticeChannelsDeclared, NoticeFailed, NoticeOn, NoticeSent, Thing, v1,
    v1::Notice as Older,
};
use retention_core::event::{Event, EventType};
use retention_core::id::{EntityId, GrantId, Position, RequestId};

use super::{PLAN, RUN, SAGA, at};

pub(super) fn events() -> Vec<Event> {
    let (request, due_at) = (RequestId(Position(41)), at(1_792_600_000));
    let notices = every!(Notice:
    ClockDoubted { doubted: Position(300) },
    RevokeFails { grant: GrantId(Position(310)) },
    SagaStuck { saga: SAGA },
    RunFailed { run: RUN },
    RequestLate { request: request, due_at: due_at },
    RequestDueSoon { request: request, due_at: due_at, before_days: 14 },
    PlanStopped { plan: PLAN },
    PlanNeedsApproval { plan: PLAN },
    PlanRefused { plan: PLAN },
    ScheduleMissed { missed: Position(320) },
    FallingDue { policy: "contacts".to_owned(), before_days: 14, from_day: 20_790 },
    RunDone { run: RUN },
    ReviewWaits { plan: PLAN },
    RecipientToTell {
        request: request,
        recipient: Position(88),
        erased: vec![EntityId(3), EntityId(9), EntityId(70_000)],
        restricted: vec![EntityId(11)]
    });
    let channel = || "dpo".to_owned();
    let failed = NoticeFailed {
        channel: channel(),
        notice: Notice::RunDone { run: RUN },
        tries: 80,
        code: "http-503".to_owned(),
    };
    let things = every!(Thing:
        ClockDoubted, RevokeFails, SagaStuck, RunFailed, RequestLate, RequestDueSoon, PlanStopped, PlanNeedsApproval,
        PlanRefused, ScheduleMissed, FallingDue, RunDone, ReviewWaits, RecipientToTell);
    let channels = vec![
        DeclaredChannel { name: channel(), things },
        DeclaredChannel { name: "page".to_owned(), things: Vec::new() },
    ];
    let sent = notices.into_iter().map(|notice| Event::NoticeSent(NoticeSent { channel: channel(), notice }));
    let known = |notice| NoticeOn { channel: channel(), notice };
    let acknowledged = NoticeAcknowledged {
        notices: vec![known(Notice::RunDone { run: RUN }), known(Notice::ReviewWaits { plan: PLAN })],
        reason: "told by telephone".to_owned(),
    };
    let rest = [
        Event::NoticeFailed(failed),
        Event::NoticeChannelsDeclared(NoticeChannelsDeclared { channels }),
        Event::NoticeAcknowledged(acknowledged),
    ];
    sent.chain(rest).collect()
}

/// What the vectors of the first schema version are read as.
pub(super) fn older() -> Vec<(EventType, u16, Event)> {
    let (request, due_at) = (RequestId(Position(41)), at(1_792_600_000));
    let notices = every!(Older:
        ClockDoubted { doubted: Position(300) },
        RevokeFails { grant: GrantId(Position(310)) },
        SagaStuck { saga: SAGA },
        RunFailed { run: RUN },
        RequestLate { request: request, due_at: due_at },
        RequestDueSoon { request: request, due_at: due_at, before_days: 14 },
        PlanStopped { plan: PLAN },
        PlanNeedsApproval { plan: PLAN },
        PlanRefused { plan: PLAN },
        ScheduleMissed { missed: Position(320) },
        FallingDue { policy: "contacts".to_owned(), before_days: 14, from_day: 20_790 },
        RunDone { run: RUN },
        ReviewWaits { plan: PLAN },
        RecipientToTell { request: request, recipient: Position(88), erased: 3, restricted: 1 });
    let channel = || "dpo".to_owned();
    let sent = notices.into_iter().map(|notice| {
        let body = v1::NoticeSent { channel: channel(), notice };
        (EventType::NoticeSent, 1, Event::NoticeSent(body.into()))
    });
    let notice = v1::Notice::RunDone { run: RUN };
    let failed = v1::NoticeFailed { channel: channel(), notice, tries: 80, code: "http-503".to_owned() };
    let known = |notice| v1::NoticeOn { channel: channel(), notice };
    let acknowledged = v1::NoticeAcknowledged {
        notices: vec![known(v1::Notice::RunDone { run: RUN }), known(v1::Notice::ReviewWaits { plan: PLAN })],
        reason: "told by telephone".to_owned(),
    };
    let rest = [
        (EventType::NoticeFailed, 1, Event::NoticeFailed(failed.into())),
        (EventType::NoticeAcknowledged, 1, Event::NoticeAcknowledged(acknowledged.into())),
    ];
    sent.chain(rest).collect()
}
