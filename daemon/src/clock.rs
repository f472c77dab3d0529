//! The only file that reads the time.
//!
//! Decisions use `Clock::now`; lengths of machine time use `Clock::monotonic`, which counts sleep of the machine
//! and never goes back. Waiting is done by `Clock::sleep_until`, so that a test with `ManualClock` never sleeps.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use retention_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// The longest a wait trusts the wall clock before it looks again: after a jump, or after the machine slept, a wait
/// ends at most this late.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A difference between wall and machine time that is a jump, not drift under NTP (at most 500 ppm) nor the time
/// between reading the two clocks.
pub const JUMP_MIN: Duration = Duration::from_secs(2);

/// A wait that ends when an instant has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the instant on the wall clock. It may jump, also back.
    fn now(&self) -> Timestamp;

    /// Returns the time since some fixed moment. Never goes back; goes on while the machine sleeps.
    fn monotonic(&self) -> Duration;

    /// Waits until the wall clock shows `at` or later. Ends at once when it already does.
    fn sleep_until(&self, at: Timestamp) -> Sleep;

    /// Says whether the machine takes its clock for synchronised; `None` when nothing on it can tell.
    fn is_synchronised(&self) -> Option<bool> {
        None
    }

    /// Reads both clocks, for [`Observation::jump_to`].
    fn observe(&self) -> Observation {
        Observation { wall: self.now(), monotonic: self.monotonic() }
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WallClock;

/// Where systemd-timesyncd keeps what it knows; it is there while that service is in use.
const TIMESYNC_DIR: &str = "/run/systemd/timesync";

impl Clock for WallClock {
    /// systemd-timesyncd makes a file once it has set the clock. Where another program does that work, nothing is
    /// known.
    fn is_synchronised(&self) -> Option<bool> {
        let directory = std::path::Path::new(TIMESYNC_DIR);
        directory.is_dir().then(|| directory.join("synchronized").exists())
    }

    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
        let now = SystemTime::now();
        // A clock before 1970 has lost its battery: 1970 is then the nearest instant that says so.
        Timestamp(now.duration_since(UNIX_EPOCH).map_or(0, micros))
    }

    fn monotonic(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let clock = *self;
        Box::pin(async move {
            while let Some(left) = duration_between(clock.now(), at) {
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        })
    }
}

/// A clock that moves only when it is told to. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    wall: watch::Sender<Timestamp>,
    monotonic: Mutex<Duration>,
    synchronised: Mutex<Option<bool>>,
}

impl ManualClock {
    /// Starts at an instant, with a monotonic time of zero.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self(Arc::new(Hands {
            wall: watch::Sender::new(wall),
            monotonic: Mutex::new(Duration::ZERO),
            synchronised: Mutex::new(None),
        }))
    }

    /// Lets time pass on both clocks and wakes whoever waited for it.
    pub fn advance(&self, by: Duration) {
        *self.0.monotonic.lock() += by;
        self.0.wall.send_modify(|wall| *wall = Timestamp(wall.0.saturating_add(micros(by))));
    }

    /// Lets time pass until an instant; does nothing when that is over.
    pub fn pass_until(&self, at: Timestamp) {
        if let Some(left) = duration_between(self.now(), at) {
            self.advance(left);
        }
    }

    /// Lets the machine say whether its clock is synchronised.
    pub fn set_synchronised(&self, synchronised: Option<bool>) {
        *self.0.synchronised.lock() = synchronised;
    }

    /// Sets the wall clock alone, forward or back: a jump.
    pub fn set(&self, wall: Timestamp) {
        self.0.wall.send_replace(wall);
    }
}

impl Clock for ManualClock {
    fn is_synchronised(&self) -> Option<bool> {
        *self.0.synchronised.lock()
    }

    fn now(&self) -> Timestamp {
        *self.0.wall.borrow()
    }

    fn monotonic(&self) -> Duration {
        *self.0.monotonic.lock()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let hands = Arc::clone(&self.0);
        let mut wall = hands.wall.subscribe();
        Box::pin(async move {
            // The sender lives in `hands`, so the wait cannot end by the clock's end.
            let _reached = wall.wait_for(|now| *now >= at).await;
            drop(hands);
        })
    }
}

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The wall clock.
    pub wall: Timestamp,
    /// The machine's own time.
    pub monotonic: Duration,
}

/// The wall clock moved by more than time passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how much, in microseconds; negative when it went back.
    pub by_micros: i64,
}

impl Observation {
    /// Returns the jump between this observation and a later one, if the difference reaches [`JUMP_MIN`].
    #[must_use]
    pub fn jump_to(self, later: Self) -> Option<Jump> {
        let passed = micros(later.monotonic.saturating_sub(self.monotonic));
        let shown = later.wall.0.saturating_sub(self.wall.0);
        let by_micros = shown.saturating_sub(passed);
        (by_micros.unsigned_abs() >= micros(JUMP_MIN).unsigned_abs()).then_some(Jump { by_micros })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the time from `now` to a later `at`.
fn duration_between(now: Timestamp, at: Timestamp) -> Option<Duration> {
    let left = u64::try_from(at.0.saturating_sub(now.0)).ok()?;
    (left > 0).then(|| Duration::from_micros(left))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

    fn later(seconds: i64) -> Timestamp {
        Timestamp(START.0 + seconds * 1_000_000)
    }

    fn poll(sleep: &mut Sleep) -> Poll<()> {
        sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_wait_ends_when_its_instant_comes_and_not_before() {
        let clock = ManualClock::starting_at(START);
        let mut sleep = clock.sleep_until(later(10));
        assert_eq!(poll(&mut sleep), Poll::Pending);
        assert_eq!(clock.0.wall.receiver_count(), 1);
        clock.advance(Duration::from_secs(9));
        assert_eq!(poll(&mut sleep), Poll::Pending);
        clock.advance(Duration::from_secs(1));
        assert_eq!(poll(&mut sleep), Poll::Ready(()));
        drop(sleep);
        assert_eq!(clock.0.wall.receiver_count(), 0);
    }

    #[test]
    fn a_wait_for_the_past_ends_at_once() {
        assert_eq!(poll(&mut ManualClock::starting_at(START).sleep_until(START)), Poll::Ready(()));
        assert_eq!(poll(&mut WallClock.sleep_until(START)), Poll::Ready(()));
    }

    #[test]
    fn a_task_is_woken_by_the_clock_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let clock = ManualClock::starting_at(START);
        let waiting = clock.clone();
        runtime.block_on(async move {
            let task = tokio::spawn(async move {
                waiting.sleep_until(later(3600)).await;
                waiting.now()
            });
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(3600));
            assert_eq!(task.await.unwrap(), later(3600));
        });
    }

    #[test]
    fn a_set_clock_jumps_and_an_advanced_one_does_not() {
        let clock = ManualClock::starting_at(START);
        let before = clock.observe();
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(before.jump_to(clock.observe()), None);
        clock.set(later(0));
        assert_eq!(before.jump_to(clock.observe()), Some(Jump { by_micros: -86_400_000_000 }));
    }

    #[test]
    fn the_machine_time_never_goes_back() {
        let first = WallClock.monotonic();
        assert!(first > Duration::ZERO);
        assert!(WallClock.monotonic() >= first);
        assert!(WallClock.now() > START);
    }

    proptest! {
        #[test]
        fn a_jump_is_what_the_wall_moved_beyond_the_time_that_passed(
            passed in 0u32..10_000_000, jump in -100_000_000_000i64..100_000_000_000,
        ) {
            let clock = ManualClock::starting_at(START);
            let before = clock.observe();
            clock.advance(Duration::from_micros(passed.into()));
            clock.set(Timestamp(clock.now().0 + jump));
            let expected = (jump.unsigned_abs() >= 2_000_000).then_some(Jump { by_micros: jump });
            prop_assert_eq!(before.jump_to(clock.observe()), expected);
        }
    }
}
