//! What is kept beside the log to prove it: the tree, what signs and publishes it, the ledger of erasures, certificates
//! and backups.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::backups::Backups;
use super::certificates::Certificates;
use super::daemon::OPENING_EXTENSION;
use super::forwards::forwards;
use super::notifier::Notifier;
use super::publications::publications;
use super::signing_key;
use super::witnesses::witnesses;
use crate::clock::Clock;
use crate::config::Config;
use crate::flush::OpenGate;
use crate::halt::Halt;
use crate::stage::attest::{Attest, TreeHealth};
use crate::stage::forward::{Forward, ForwardHealth};
use crate::stage::ledger::Ledger;
use crate::stage::publish::{Publish, PublishHealth};
use crate::stage::witness::{Witness, WitnessHealth};
use crate::store::Store;
use crate::store::tree::Tree;

/// All of it.
pub(super) struct Evidence {
    pub(super) stages: EvidenceStages,
    pub(super) told: EvidenceTold,
}

/// What has a thread of its own.
pub(super) struct EvidenceStages {
    pub(super) attest: Option<Attest>,
    pub(super) publish: Vec<Publish>,
    pub(super) witness: Vec<Witness>,
    pub(super) forward: Vec<Forward>,
    pub(super) ledger: Option<Ledger>,
    pub(super) backups: Arc<Backups>,
}

/// What people ask.
pub(super) struct EvidenceTold {
    /// The tree over the log; `None` when it could not be opened, or the store is damaged.
    pub(super) tree: Option<Arc<Tree>>,
    /// Why checkpoints are no longer signed.
    pub(super) tree_health: TreeHealth,
    /// Which places outside do not have the newest checkpoint: one for each place.
    pub(super) publish_health: Vec<PublishHealth>,
    /// How each witness stands, by name.
    pub(super) witness_health: Vec<(String, WitnessHealth)>,
    /// Which logs of other programs were not told of the newest events: one for each log.
    pub(super) forward_health: Vec<ForwardHealth>,
    /// What writes certificates.
    pub(super) certificates: Option<Certificates>,
    /// What makes backups.
    pub(super) backups: Arc<Backups>,
}

impl Evidence {
    /// Opens the tree over the log and the key that signs it. Without them the daemon works and says so. Beside a
    /// damaged store they are left alone; a log that contradicts its newest checkpoint makes the store read-only.
    pub(super) fn open(store: &Arc<Store>, clock: &Arc<dyn Clock>, config: &Arc<RwLock<Config>>, halt: &Halt) -> Self {
        let wanted = config.read().origin.clone();
        let (opened, tree_health) = open_tree(store, clock, config);
        if opened.is_some() && tree_health.lock().is_none() {
            discard_set_aside(store);
        }
        let (attest, certificates) = opened.unzip();
        let tree = certificates.as_ref().map(|certificates| Arc::clone(&certificates.tree));
        let publish: Vec<_> = match &tree {
            Some(tree) => publications(&config.read().publish, halt)
                .into_iter()
                .map(|place| Publish::new(Arc::clone(store), Arc::clone(clock), Arc::clone(tree), place))
                .collect(),
            None => Vec::new(),
        };
        let (witness, witness_health) = match &tree {
            Some(tree) => witnesses(&config.read().witnesses, store, clock, tree, halt).into_iter().unzip(),
            None => (Vec::new(), Vec::new()),
        };
        let origin = signing_key::origin(store, wanted.as_deref());
        let forward = forwards(&config.read().forward, &origin, store, clock);
        let erasures = config.read().backup.as_ref().and_then(|backup| backup.erasures.clone());
        let ledger = erasures.map(|path| Ledger::new(Arc::clone(store), Arc::clone(clock), path));
        let backups = Arc::new(Backups {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            config: Arc::clone(config),
            tree: tree.clone(),
            ledger: ledger.as_ref().map(Ledger::health),
            under_way: Mutex::default(),
            failed: Mutex::default(),
        });
        let forward_health = forward.iter().map(Forward::health).collect();
        let publish_health = publish.iter().map(Publish::health).collect();
        Self {
            stages: EvidenceStages { attest, publish, witness, forward, ledger, backups: Arc::clone(&backups) },
            told: EvidenceTold {
                tree,
                tree_health,
                publish_health,
                witness_health,
                forward_health,
                certificates,
                backups,
            },
        }
    }
}

/// Ends what a damaged sled left, as its journal is now known to be the log that was signed. It holds nothing that can be
/// opened, but what stands for those who were erased.
fn discard_set_aside(store: &Store) {
    match store.discard_set_aside() {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "event stores that had been set aside were removed"),
        Err(error) => {
            tracing::warn!(%error, "an event store that was set aside is still there; the next start tries again");
        }
    }
}

fn open_tree(
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    config: &Arc<RwLock<Config>>,
) -> (Option<(Attest, Certificates)>, TreeHealth) {
    if store.read_only_reason().is_some() {
        return (None, TreeHealth::default());
    }
    let wanted = config.read().origin.clone();
    let is_signed = store.view(|views| !views.small.signing_keys.is_empty());
    let tree = if is_signed { Tree::reopen(store.dir()) } else { Tree::open(store.dir()) };
    let opened = tree.map_err(|error| error.to_string()).and_then(|tree| {
        let signer = signing_key::current(store, &OpenGate, wanted.as_deref()).map_err(|error| error.to_string())?;
        let tree = Arc::new(tree);
        let attest = Attest::new(Arc::clone(store), Arc::clone(clock), Arc::clone(&tree), signer.clone());
        let (store, clock, config) = (Arc::clone(store), Arc::clone(clock), Arc::clone(config));
        let certificates = Certificates { store, clock, tree, signer, config };
        attest.map(|attest| (attest, certificates)).map_err(|error| error.to_string())
    });
    match opened {
        Ok((mut attest, certificates)) => {
            let health = attest.health();
            let compared = attest.compare(&mut || {
                Notifier.extend(OPENING_EXTENSION);
                Notifier.alive();
            });
            if let Err(error) = &compared {
                tracing::error!(%error, "the tree over the log cannot be compared with it");
                *health.lock() = Some(error.to_string());
            }
            (Some((attest, certificates)), health)
        }
        Err(error) => {
            tracing::error!(%error, "checkpoints of the log are not signed");
            (None, Arc::new(Mutex::new(Some(error))))
        }
    }
}
