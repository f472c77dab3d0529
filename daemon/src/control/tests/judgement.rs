//! What policies say, asked through the API.

use retention_core::event::hold::{HoldPlaced, HoldReleased, v1};
use retention_core::id::HoldId;

use super::*;
use crate::store::tests::KEEP_ONE_YEAR;

#[test]
fn a_person_asks_the_same_judgement_that_plans_are_made_with() {
    use super::super::judgement::{diff, explain, policies};
    let world = World::with_contacts(3);
    let text = KEEP_ONE_YEAR;
    let file = |text: &str| PolicyFileText { name: "contacts.toml".to_owned(), text: text.to_owned() };
    let set =
        retention_core::policy::PolicySet::check(&[retention_core::policy::PolicyFile { stem: "contacts", text }]);
    world.store.install_policies(Arc::new(set.unwrap()));
    let now = world.control.clock.now();
    let later = Timestamp(now.0 + 400 * 86_400 * 1_000_000);
    let entity = world.first_contact();
    use retention_core::control::{PolicyChange, Verdict};
    assert_eq!(explain(&world.store, entity, now).unwrap().verdict, Verdict::Keep);
    assert_eq!(explain(&world.store, entity, later).unwrap().verdict, Verdict::Due);
    assert_eq!(policies(&world.store, now).len(), 1);
    let same = diff(&world.store, &[file(text)], later).unwrap();
    assert_eq!(
        (same[0].change, same[0].due_before, same[0].newly_due, same[0].newly_kept),
        (PolicyChange::Same, 3, 0, 0)
    );
    let shorter = diff(&world.store, &[file(&text.replace("P1Y", "P1M"))], later).unwrap();
    assert_eq!((shorter[0].cools_off.as_slice(), same[0].cools_off.len()), (&["period".to_owned()][..], 0));
    let longer = diff(&world.store, &[file(&text.replace("P1Y", "P9Y"))], later).unwrap();
    assert!(longer[0].cools_off.is_empty());
    assert_eq!((longer[0].change, longer[0].due_after, longer[0].newly_kept), (PolicyChange::Changed, 0, 3));
    let none = diff(&world.store, &[], later).unwrap();
    assert_eq!((none[0].change, none[0].newly_kept), (PolicyChange::Removed, 3));
    assert!(diff(&world.store, &[file("schema = 9")], later).is_err());
}

#[test]
fn whoever_asks_is_told_every_hold_and_until_when_it_protects() {
    use super::super::judgement::explain;
    use retention_core::policy::{PolicyFile, PolicySet};
    let world = World::with_contacts(1);
    let set = PolicySet::check(&[PolicyFile { stem: "contacts", text: KEEP_ONE_YEAR }]);
    world.store.install_policies(Arc::new(set.unwrap()));
    let (now, entity) = (world.control.clock.now(), world.first_contact());
    let place = |entities, policies: &[&str]| {
        let case = v1::HoldPlaced { name: "case".into(), reason: "court".into(), entities };
        let policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
        HoldId(world.happens(Event::HoldPlaced(HoldPlaced { policies, ..case.into() }), None))
    };
    let (first, second, of_policy) =
        (place(vec![entity], &[]), place(vec![entity], &[]), place(Vec::new(), &["contacts"]));
    let until = Timestamp(now.0 + 86_400 * 1_000_000);
    world.happens(Event::HoldReleased(HoldReleased { hold: second, reason: "over".into(), until }), None);
    let told = explain(&world.store, entity, now).unwrap();
    assert_eq!((told.holds.as_slice(), told.policies[0].holds.as_slice()), (&[first, second][..], &[of_policy][..]));
    let text = told.text.join(" ");
    for said in [
        format!("What decides: legal hold {first} covers it."),
        format!("Also: legal hold {second} covers it."),
        format!("{second} was released, and protects until {until}."),
        format!("nothing is disposed of under it while it is held by {of_policy}."),
    ] {
        assert!(text.contains(&said), "{said} {text}");
    }
}

#[test]
fn a_comparison_says_from_what_another_policy_does_not_protect_any_more() {
    use super::super::judgement::diff;
    let world = World::with_contacts(1);
    let keeper = KEEP_ONE_YEAR
        .replace("id = \"contacts\"", "id = \"contracts\"")
        .replace("match_all = true", "where = { field = \"created\", op = \"exists\" }")
        .replace("start = \"first_seen\"", "start = \"first_seen\"\nmin_keep = \"P9Y\"");
    let file = |stem, text| retention_core::policy::PolicyFile { stem, text };
    let both = [file("contacts", KEEP_ONE_YEAR), file("contracts", &keeper)];
    world.store.install_policies(Arc::new(retention_core::policy::PolicySet::check(&both).unwrap()));
    let cools_off = |keeper: Option<&str>| {
        let contacts = PolicyFileText { name: "contacts.toml".to_owned(), text: KEEP_ONE_YEAR.to_owned() };
        let keeper = keeper.map(|text| PolicyFileText { name: "contracts.toml".to_owned(), text: text.to_owned() });
        let files: Vec<PolicyFileText> = std::iter::once(contacts).chain(keeper).collect();
        let rows = diff(&world.store, &files, world.control.clock.now()).unwrap();
        rows.into_iter().map(|row| (row.policy, row.cools_off.join(", "))).collect::<Vec<_>>()
    };
    let rows = |contacts: &str, contracts: &str| {
        vec![("contacts".to_owned(), contacts.to_owned()), ("contracts".to_owned(), contracts.to_owned())]
    };
    assert_eq!(cools_off(Some(&keeper)), rows("", ""));
    assert_eq!(cools_off(None), rows("min_keep of contracts", ""));
    assert_eq!(cools_off(Some(&keeper.replace("P9Y", "P8Y"))), rows("min_keep of contracts", "min_keep"));
    assert_eq!(cools_off(Some(&keeper.replace("P9Y", "P10Y"))), rows("", ""));
}

#[test]
fn a_comparison_tells_what_comes_into_force_though_nothing_is_newly_due() {
    let world = World::with_contacts(2);
    let in_state = |state: &str| KEEP_ONE_YEAR.replace("\"enforce\"", &format!("\"{state}\""));
    let simulated = in_state("simulate");
    let files = [retention_core::policy::PolicyFile { stem: "contacts", text: &simulated }];
    world.store.install_policies(Arc::new(retention_core::policy::PolicySet::check(&files).unwrap()));
    let later = Timestamp(world.control.clock.now().0 + 400 * 86_400 * 1_000_000);
    let compared = |files: &[PolicyFileText]| {
        let row = super::super::judgement::diff(&world.store, files, later).unwrap().remove(0);
        (row.change, row.state_before, row.state_after, row.due_after, row.newly_due)
    };
    let with = |text: &str| [PolicyFileText { name: "contacts.toml".to_owned(), text: text.to_owned() }];
    use retention_core::control::PolicyChange;
    let state = |name: &str| Some(name.to_owned());
    let simulate = state("simulate");
    assert_eq!(compared(&with(&simulated)), (PolicyChange::Same, simulate.clone(), simulate.clone(), 2, 0));
    let enforced = (PolicyChange::Changed, simulate.clone(), state("enforce"), 2, 0);
    assert_eq!(compared(&with(&in_state("enforce"))), enforced);
    assert_eq!(compared(&[]), (PolicyChange::Removed, simulate, None, 0, 0));
}

#[tokio::test]
async fn a_decision_names_what_waits_as_it_was_looked_at_or_nothing_is_decided() {
    let world = World::with_contacts(2);
    let text = KEEP_ONE_YEAR.replace("\"first_seen\"", "\"closed\"").replace("\"keep\"", "\"review\"");
    let files = [retention_core::policy::PolicyFile { stem: "contacts", text: &text }];
    world.store.install_policies(Arc::new(retention_core::policy::PolicySet::check(&files).unwrap()));
    let entity = world.first_contact();
    let version = world.store.view(|views| views.entities.row(entity).unwrap().version);
    let uri = "/v1/policies/contacts/review";
    let body =
        |decision: Value, items: Value, reason: &str| json!({"decision": decision, "items": items, "reason": reason});
    let (dispose, one) = (json!({"verdict": "dispose"}), json!([{"entity": entity}]));
    let past = json!({"verdict": "keep", "until": "2020-01-01T00:00:00Z"});
    let seen = |version: u64| json!([{"entity": entity, "seen": {"version": version, "due_at": null}}]);
    let before = world.store.view(|views| views.position);
    for (status, wrong) in [
        (400, body(dispose.clone(), json!([]), "why")),
        (400, body(dispose.clone(), one.clone(), "")),
        (400, body(past, one.clone(), "why")),
        (409, body(dispose.clone(), seen(version.0 + 1), "why")),
        (409, body(dispose.clone(), json!([{"entity": entity}, {"entity": "E4000000"}]), "why")),
    ] {
        let (answered, answer) = world.ask(OTHER, Operation::ReviewDecide, uri, Some(wrong.clone())).await;
        assert_eq!(answered, status, "{wrong}: {answer}");
    }
    let (status, _) = world
        .ask(
            OTHER,
            Operation::ReviewDecide,
            "/v1/policies/none/review",
            Some(body(dispose.clone(), one.clone(), "why")),
        )
        .await;
    assert_eq!(status, 404);
    let auditor = Caller { peer: Peer { uid: OTHER, gid: OTHER }, roles: vec![Role::Auditor, Role::Operator] };
    let wanted = Some(body(dispose.clone(), one, "why"));
    let (status, _) = world.send_as(auditor, Operation::ReviewDecide, uri, "application/json", wanted).await;
    assert_eq!(status, 403);
    assert_eq!(world.store.view(|views| views.position), before, "nothing was recorded");

    let wanted = Some(body(dispose, seen(version.0), "seen with the archive"));
    let (status, answer) = world.ask(OTHER, Operation::ReviewDecide, uri, wanted).await;
    assert_eq!(status, 200, "{answer}");
    let review = format!("/v1/reviews/V{}", answer["position"]);
    let (_, shown) = world.ask(REQUESTER, Operation::ReviewShow, &review, None).await;
    let item = json!({"entity": entity, "version": version, "due_at": null});
    assert_eq!((&shown["reason"], &shown["items"]), (&json!("seen with the archive"), &json!([item])));
    assert_eq!((&shown["by"], &shown["decision"]), (&json!("uid:1002"), &json!({"verdict": "dispose"})));
    let explained = super::super::judgement::explain(&world.store, entity, world.control.clock.now()).unwrap();
    assert_eq!(explained.verdict, retention_core::control::Verdict::Due);
    assert_eq!(explained.reviews.len(), 1);

    // A comparison counts what was decided as a plan does, for one version of the policy and for no other.
    let counts = |text: &str| {
        let files = [PolicyFileText { name: "contacts.toml".to_owned(), text: text.to_owned() }];
        let row = super::super::judgement::diff(&world.store, &files, world.control.clock.now()).unwrap().remove(0);
        [row.due_before, row.due_after, row.newly_due, row.newly_kept, row.waits_before, row.waits_after]
    };
    assert_eq!(counts(&text), [1, 1, 0, 0, 1, 1]);
    assert_eq!(counts(&text.replace("P1Y", "P2Y")), [1, 0, 0, 1, 1, 2]);
    assert_eq!(counts(&text.replace("\"review\"", "\"keep\"")), [1, 0, 0, 1, 1, 0]);
    let keep =
        body(json!({"verdict": "keep", "until": "2999-01-01T00:00:00Z"}), json!([{"entity": entity}]), "a lawsuit");
    let (status, answer) = world.ask(OTHER, Operation::ReviewDecide, uri, Some(keep)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(counts(&text), [0, 0, 0, 0, 1, 1]);
    assert_eq!(counts(&text.replace("P1Y", "P2Y")), [0, 0, 0, 0, 1, 1], "what is kept is kept under any version");
    let (status, _) = world.ask(REQUESTER, Operation::ReviewShow, "/v1/reviews/V1", None).await;
    assert_eq!(status, 404);
}
