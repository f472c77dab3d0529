//! `retentiond`: what the decisions of `retention-core` need in order to happen.
//!
//! `core` decides, `store` remembers, `connector` reaches out, `stage` moves things along, `control` answers people.

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Rows travel from thread to thread, so most memory is freed by another thread than took it: the system's allocator
/// spends a tenth of an intake on that. Memory is wiped when it is freed, so that nothing of what was erased is left in
/// what nobody uses any more. Set here, so that tests and benches run on what the daemon runs on.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

// The configuration, as written and as checked.
pub mod config;

// The only place that reads the time.
pub mod clock;

// What stands around every flush.
pub mod flush;

// Whether work was asked to stop.
pub mod halt;

// Files that hold secrets.
pub mod private_file;

// Encryption to whoever is to open something.
pub mod keyholders;

// The program's own messages, redacted.
pub mod diagnostics;

// Work in pieces, on several threads.
pub mod ahead;

// Everything durable.
pub mod store;

// Sources and targets.
pub mod connector;

// The flow: intake, project, plan, run.
pub mod stage;

// The side door: HTTP on the Unix socket.
pub mod control;

// Start, readiness, signals, stop.
pub mod supervise;
