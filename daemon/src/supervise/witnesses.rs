//! The witnesses of `[[audit.witness]]`.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::WitnessOf;
use crate::connector::witness::WebWitness;
use crate::halt::Halt;
use crate::stage::witness::{Named, Witness, WitnessHealth};
use crate::store::Store;
use crate::store::tree::Tree;

/// Returns what asks them, in the order of the configuration, each with its name and how it stands.
pub(super) fn witnesses(
    configured: &[WitnessOf],
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    tree: &Arc<Tree>,
    halt: &Halt,
) -> Vec<(Witness, (String, WitnessHealth))> {
    let of = |one: &WitnessOf| {
        let others = configured.iter().filter(|other| other.name != one.name);
        let others = others.map(|other| other.key.text().to_owned()).collect();
        let named = Named { name: one.name.clone(), key: one.key.clone(), others };
        let asked = Box::new(WebWitness::at(one.url.clone(), one.ca_file.clone(), halt.clone()));
        let witness = Witness::new(Arc::clone(store), Arc::clone(clock), Arc::clone(tree), named, asked);
        let health = (one.name.clone(), witness.health());
        (witness, health)
    };
    configured.iter().map(of).collect()
}
