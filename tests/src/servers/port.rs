//! Ports of loopback that no other test takes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel hands to clients, so that no outgoing connection sits on one.
const FIRST: u16 = 20_000;

/// How many there are.
const COUNT: u16 = 10_000;

/// A port, kept for this process until it is dropped.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    // The kernel lets the lock go when the process ends, however it ends.
    _lock: File,
}

impl Port {
    /// Takes one that nobody listens on and that no other test process holds.
    pub(super) fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let locks = std::env::temp_dir().join("retention-test-ports");
        fs::create_dir_all(&locks).expect("a directory for the locks of ports");
        // Processes begin at different places, so that they seldom meet.
        let begin = std::process::id().wrapping_mul(97) % u32::from(COUNT);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
            let offset = u16::try_from((begin + step) % u32::from(COUNT)).expect("below the count");
            let number = FIRST + offset;
            let lock = File::options().create(true).append(true).open(locks.join(number.to_string()));
            let lock = lock.expect("the lock of a port");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port of loopback is free between {FIRST} and {}", FIRST + COUNT);
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }
}
