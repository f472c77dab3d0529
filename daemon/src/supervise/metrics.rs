//! Metrics, read off the views when they are asked for.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use retention_core::evidence::cosignature::WitnessState;
use retention_core::policy::Action;
use retention_core::view::Views;

use crate::store::Store;

type Labelled = Family<Vec<(&'static str, String)>, Gauge>;

/// Returns all metrics in the text format of Prometheus.
#[must_use]
pub(super) fn text(
    store: &Store,
    policy_problems: u64,
    witnesses: &[(String, WitnessState)],
    now: retention_core::time::Timestamp,
) -> String {
    let mut registry = Registry::with_prefix("retentiond");
    let policies = store.policies();
    let restricts = |id: &str| policies.get(id).is_some_and(|policy| policy.action == Action::Restrict);
    store.view(|views| register(&mut registry, views, &restricts, now));
    single(&mut registry, "read_only", "1 when nothing can be written", i64::from(store.read_only_reason().is_some()));
    single(&mut registry, "written_out_position", "Up to where sled is", signed(store.written_out().0));
    single(&mut registry, "policy_problems", "Problems of the policies on disk", signed(policy_problems));
    let cosigned = family(&mut registry, "witness_cosigned", "Events under the newest cosignature, by witness");
    let behind = family(&mut registry, "witness_behind", "1 when a witness did not cosign or contradicts, by witness");
    for (name, state) in witnesses {
        let labels = vec![("witness", name.clone())];
        cosigned.get_or_create(&labels).set(signed(state.cosigned.map_or(0, |(size, _)| size)));
        let is_behind = state.behind.is_some() || state.contradicts.is_some();
        behind.get_or_create(&labels).set(i64::from(is_behind));
    }
    let mut out = String::new();
    match encode(&mut out, &registry) {
        Ok(()) => out,
        // Writing to a string fails only with a broken formatter.
        Err(std::fmt::Error) => String::new(),
    }
}

fn register(
    registry: &mut Registry,
    views: &Views,
    restricts: &dyn Fn(&str) -> bool,
    now: retention_core::time::Timestamp,
) {
    single(registry, "position", "The last position of the log", signed(views.position.0));
    single(registry, "entities_purged", "Entities that were purged", signed(views.purged()));
    single(registry, "unjudged_entities", "Entities that wait to be judged", signed(views.due.unjudged().len()));
    let live = family(registry, "entities", "Live entities by source and kind");
    for (id, layout) in views.small.layouts.iter() {
        let labels = vec![("source", layout.source.clone()), ("kind", layout.kind.name().to_owned())];
        live.get_or_create(&labels).inc_by(signed(views.entities.live(id)));
    }
    let due = family(registry, "due", "Entities whose day has come, by policy");
    let scope = family(registry, "in_scope", "Entities in scope, by policy");
    for (policy, column) in views.due.policies() {
        let labels = vec![("policy", policy.to_owned())];
        let mut waiting = column.due_by(now);
        if restricts(policy) {
            views.small.restrictions.take_ended(&mut waiting);
        }
        due.get_or_create(&labels).set(signed(waiting.len()));
        scope.get_or_create(&labels).set(signed(column.population()));
    }
    let runs = family(registry, "runs", "Runs by state");
    for (_, run) in views.small.runs.iter() {
        runs.get_or_create(&vec![("state", run.state.name().to_owned())]).inc();
    }
    let undelivered = family(registry, "notices_undelivered", "Notices that a channel did not take, by channel");
    for (name, channel) in views.small.notices.channels() {
        let labels = vec![("channel", name.to_owned())];
        undelivered.get_or_create(&labels).set(signed(channel.given_up().count() as u64));
    }
    single(registry, "holds", "Active holds", signed(views.small.holds.in_force(views.recorded_at).count() as u64));
    single(
        registry,
        "intakes",
        "Files and directories that were claimed",
        signed(views.small.intakes.iter().count() as u64),
    );
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Labelled {
    let family = Labelled::default();
    registry.register(name, help, family.clone());
    family
}

fn single(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
