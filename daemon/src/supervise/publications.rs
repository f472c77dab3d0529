//! The places of `[audit] publish`.

use crate::config::PublishTo;
use crate::connector::program::Program;
use crate::connector::publish::{CommandPlace, FilePlace, JournalPlace, Publication, WebPlace};
use crate::halt::Halt;

/// Returns them, in the order of the configuration.
pub(super) fn publications(places: &[PublishTo], halt: &Halt) -> Vec<Box<dyn Publication>> {
    let place = |place: &PublishTo| -> Box<dyn Publication> {
        match place {
            PublishTo::File(path) => Box::new(FilePlace::at(path.clone())),
            PublishTo::Command(program, arguments) => {
                Box::new(CommandPlace::of(Program::of(program.clone(), arguments.clone(), halt.clone())))
            }
            PublishTo::Web(url, ca_file) => Box::new(WebPlace::at(url.clone(), ca_file.clone(), halt.clone())),
            PublishTo::Journal => Box::new(JournalPlace),
        }
    };
    places.iter().map(place).collect()
}
