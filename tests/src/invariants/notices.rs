//! What must be true of notices at any time.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::Event;
use retention_core::event::notice::{DeclaredChannel, Notice, NoticeOn};
use retention_core::id::Position;
use retentiond::store::Store;

use super::Violation;

/// Looks at the whole log: a channel is declared before it is told anything, is told what it wants to know, and nothing
/// twice; and a person acknowledges nothing but what was given up.
pub fn check(store: &Store) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut channels: BTreeMap<String, DeclaredChannel> = BTreeMap::new();
    let mut told: BTreeMap<String, BTreeSet<Notice>> = BTreeMap::new();
    let mut given_up = BTreeSet::new();
    let newest = store.view(|views| views.position);
    for position in (1..=newest.0).map(Position) {
        let Ok(Some(recorded)) = store.read(position) else { continue };
        let (channel, notice) = match recorded.event() {
            Some(Event::NoticeChannelsDeclared(body)) => {
                channels = body.channels.iter().map(|channel| (channel.name.clone(), channel.clone())).collect();
                told.retain(|channel, _| channels.contains_key(channel));
                continue;
            }
            Some(Event::NoticeSent(body)) => (&body.channel, &body.notice),
            Some(Event::NoticeFailed(body)) => {
                given_up.insert((body.channel.clone(), body.notice.clone()));
                (&body.channel, &body.notice)
            }
            Some(Event::NoticeAcknowledged(body)) => {
                let unknown = |on: &&NoticeOn| !given_up.contains(&(on.channel.clone(), on.notice.clone()));
                let unknown = body.notices.iter().filter(unknown);
                violations.extend(unknown.map(|NoticeOn { channel, notice }| {
                    Violation::of("notice_acknowledged_early", None, &format!("{notice} on {channel}"))
                }));
                continue;
            }
            _ => continue,
        };
        if !channels.get(channel).is_some_and(|channel| channel.things.contains(&notice.thing())) {
            violations.push(Violation::of("notice_unwanted", None, &format!("{notice} on {channel}")));
        }
        if !told.entry(channel.clone()).or_default().insert(notice.clone()) {
            violations.push(Violation::of("notice_repeated", None, &format!("{notice} on {channel}")));
        }
    }
    violations
}
