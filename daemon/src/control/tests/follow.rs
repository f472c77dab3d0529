//! The log is followed.

use retention_core::event::operation::DaemonStopped;

use super::*;

/// What an answer that goes on told: its rows, how far it looked each time, and where it ended.
fn followed(text: &str) -> (Vec<Value>, Vec<u64>, Option<u64>) {
    let (mut rows, mut looked, mut end) = (Vec::new(), Vec::new(), None);
    for line in text.lines().map(|line| serde_json::from_str(line).unwrap()) {
        match line {
            Line::Row(row) => rows.push(row),
            Line::Progress(progress) => looked.push(progress.done),
            Line::End(last) => end = last.next.map(|cursor| cursor.0),
            Line::Error(error) => panic!("{error}"),
        }
    }
    (rows, looked, end)
}

#[tokio::test]
async fn following_tells_what_was_recorded_and_what_is_recorded_later_without_a_gap_or_a_double() {
    let world = World::with_contacts(5);
    let newest = || world.store.view(|views| views.position.0);
    let follow = |query: &str| {
        let uri = format!("/v1/events/follow{query}");
        let world = &world;
        async move { world.send(7, Operation::AuditFollow, &uri, NDJSON, None).await }
    };
    let before = newest();
    let all = follow("?limit=12");
    let rest = async {
        for _ in 0..20 {
            world.happens(Event::DaemonStopped(DaemonStopped {}), None);
            tokio::task::yield_now().await;
        }
    };
    let ((status, text), ()) = tokio::join!(all, rest);
    let (rows, _, end) = followed(&text);
    let positions: Vec<u64> = rows.iter().map(|row| row["position"].as_u64().unwrap()).collect();
    assert_eq!((status, positions), (200, (1..=12).collect::<Vec<_>>()));
    assert!(text.trim_end().ends_with(r#""ended":"limit"}}"#), "{text}");
    assert!(before < 12 && end == Some(12));

    // Filters combine, and how far it looked is told although nothing matched.
    let nothing = follow("?kind=PlanFrozen&actor=daemon&after=3");
    let stop = async {
        world.happens(Event::DaemonStopped(DaemonStopped {}), None);
        tokio::task::yield_now().await;
        world.stop.send_replace(true);
    };
    let ((_, text), ()) = tokio::join!(nothing, stop);
    let (rows, looked, end) = followed(&text);
    assert_eq!(rows, Vec::<Value>::new());
    assert!(end == Some(3) || end == looked.last().copied(), "{text}");
    assert!(text.trim_end().ends_with(r#""ended":"stopping"}}"#), "{text}");
    let (_, refused) = follow("?kind=Nothing").await;
    assert!(refused.contains("there is no event type of that name"), "{refused}");
}

#[tokio::test]
async fn following_ends_by_itself_where_nothing_can_follow() {
    let world = World::with_contacts(3);
    let uri = "/v1/events/follow?until=2020-01-01";
    let (_, text) = world.send(7, Operation::AuditFollow, uri, NDJSON, None).await;
    let newest = world.store.view(|views| views.position.0);
    assert_eq!(followed(&text), (Vec::new(), vec![newest], Some(newest)));
    assert!(text.trim_end().ends_with(r#""ended":"until"}}"#), "{text}");
    assert!(!matches!(world.newest().1, Event::RecordsOpened(_)), "following opens no record");
}

#[tokio::test]
async fn following_from_beyond_the_end_is_refused_instead_of_skipping_what_comes() {
    let world = World::with_contacts(3);
    let newest = world.store.view(|views| views.position.0);
    let follow = async |after: u64| {
        let uri = format!("/v1/events/follow?limit=1&after={after}");
        world.send(7, Operation::AuditFollow, &uri, NDJSON, None).await
    };
    let (status, refused) = follow(newest + 1).await;
    assert!(status == 409 && refused.contains(&format!("the log ends with event {newest}")), "{status} {refused}");
    let next = async { world.happens(Event::DaemonStopped(DaemonStopped {}), None) };
    let ((_, text), _) = tokio::join!(follow(newest), next);
    assert_eq!(followed(&text).2, Some(newest + 1));
}

#[tokio::test]
async fn as_many_may_follow_as_leave_a_place_for_everybody_else() {
    let world = World::with_contacts(1);
    let follow = async || world.send(7, Operation::AuditFollow, "/v1/events/follow?limit=1", NDJSON, None).await;
    let others =
        Arc::clone(&world.control.followers).try_acquire_many_owned(u32::try_from(FOLLOWERS_MAX).unwrap()).unwrap();
    let (status, refused) = follow().await;
    assert!(status == 429 && refused.contains("16 programs follow the log"), "{status} {refused}");
    drop(others);
    for _ in 0..=FOLLOWERS_MAX {
        assert_eq!(follow().await.0, 200, "whoever has ended takes no place");
    }
}
