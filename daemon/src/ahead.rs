//! Work in pieces: prepared on several threads, taken by one, in order.
//!
//! Reading, opening and hashing many entities is work for every processor; what comes of it is written in one order.
//! So the pieces are prepared side by side and taken one after another, and only a few of them are in memory at once.

use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};

/// The most threads that prepare: more would not help the one that takes.
pub const LANES_MAX: usize = 4;

/// How many prepared pieces wait in a lane, beside the one that is being prepared.
const WAITING_PER_LANE: usize = 1;

/// Prepares pieces, on several threads where the machine has processors for it, and takes what comes of them in the
/// order of the pieces, in the thread of the caller. At most two prepared pieces for each thread are in memory.
///
/// # Errors
/// The first that `take` returns; nothing is taken after it.
pub fn in_order<'p, P, T, E>(
    pieces: &'p [P],
    prepare: impl Fn(&'p P) -> T + Sync,
    take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E>
where
    P: Sync,
    T: Send,
{
    on_lanes(lanes(), pieces, prepare, take)
}

/// As [`in_order`], on so many threads whatever processors there are: pieces that are mostly waited for, as those on a
/// disk, gain by [`LANES_MAX`].
///
/// # Errors
/// As [`in_order`].
pub fn on_lanes<'p, P, T, E>(
    lanes: usize,
    pieces: &'p [P],
    prepare: impl Fn(&'p P) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E>
where
    P: Sync,
    T: Send,
{
    let lanes = lanes.min(pieces.len());
    if lanes < 2 {
        return pieces.iter().try_for_each(|piece| take(prepare(piece)));
    }
    let prepare = &prepare;
    std::thread::scope(|scope| {
        let lane = |first: usize| -> Option<Receiver<T>> {
            let (offer, prepared) = bounded(WAITING_PER_LANE);
            let mut own = pieces.iter().skip(first).step_by(lanes);
            let work = move || own.try_for_each(|piece| offer.send(prepare(piece)).map_err(drop));
            // The system may have no thread to spare: the caller prepares these pieces itself, then.
            Builder::new().name("ahead".to_owned()).spawn_scoped(scope, work).ok().map(|_| prepared)
        };
        let lanes: Vec<_> = (0..lanes).map(lane).collect();
        for (piece, lane) in pieces.iter().zip(lanes.iter().cycle()) {
            let prepared = match lane {
                // A lane ends early only by a panic, which the scope passes on.
                Some(lane) => lane.recv().ok(),
                None => Some(prepare(piece)),
            };
            match prepared {
                Some(prepared) => take(prepared)?,
                None => break,
            }
        }
        Ok(())
    })
}

fn lanes() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(LANES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_once_and_in_order() {
        for count in [0, 1, 2, 3, 1_000] {
            let pieces: Vec<u32> = (0..count).collect();
            let mut taken = Vec::new();
            let done: Result<(), ()> = in_order(
                &pieces,
                |piece| piece * 2,
                |prepared| {
                    taken.push(prepared);
                    Ok(())
                },
            );
            assert_eq!(done, Ok(()));
            assert_eq!(taken, pieces.iter().map(|piece| piece * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_taken_after_an_error() {
        let pieces: Vec<u32> = (0..1_000).collect();
        let mut taken = 0;
        let done = in_order(
            &pieces,
            |piece| *piece,
            |piece| {
                taken += 1;
                if piece == 7 { Err(piece) } else { Ok(()) }
            },
        );
        assert_eq!((done, taken), (Err(7), 8));
    }
}
