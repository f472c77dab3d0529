//! Samples of what people are told.

use retention_core::event::Event;
use retention_core::event::notice::{
    DeclaredChannel, Notice, NoticeAcknowledged, NoticeChannelsDeclared, NoticeFailed, NoticeOn, NoticeSent, Thing,
};
use retention_core::id::{GrantId, Position, RequestId};

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
        RecipientToTell { request: request, recipient: Position(88), erased: 3, restricted: 1 });
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
