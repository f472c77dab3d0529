//! The quoting of an mbox, reversible (mboxrd): a `>` before every line that is `From ` after any number of `>`.
//!
//! Nothing else of a message is changed, line ends included, so that unquoting gives it back byte for byte.

const FROM: &[u8] = b"From ";

/// Where in a line a message stands that passes through.
#[derive(Debug, Default)]
pub(super) struct Quoting {
    state: State,
    is_last_line_feed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// At the start of a line, after any number of `>`.
    #[default]
    Start,
    /// After this many bytes of `From ` there.
    Matched(usize),
    /// Further on in a line.
    Inside,
}

impl State {
    fn matched(self) -> usize {
        match self {
            Self::Matched(matched) => matched,
            Self::Start | Self::Inside => 0,
        }
    }
}

/// Copies a message from within a line up to the next one, in one go: most of a message is the inside of lines. Returns
/// where it stands then, and what is left.
fn copy_inside<'b>(bytes: &'b [u8], out: &mut Vec<u8>) -> (State, &'b [u8]) {
    let length = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    let (line, rest) = bytes.split_at(length);
    out.extend_from_slice(line);
    let state = if line.ends_with(b"\n") { State::Start } else { State::Inside };
    (state, rest)
}

impl Quoting {
    /// Appends a part of a message to `out`, quoted.
    pub(super) fn quote(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Inside => {
                    (self.state, rest) = copy_inside(rest, out);
                    continue;
                }
                State::Start if byte == b'>' => out.push(byte),
                State::Start | State::Matched(_) => {
                    let matched = self.state.matched();
                    if FROM.get(matched) != Some(&byte) {
                        self.give_up(out);
                        continue;
                    }
                    self.state = State::Matched(matched + 1);
                    if matched + 1 == FROM.len() {
                        out.push(b'>');
                        out.extend_from_slice(FROM);
                        self.state = State::Inside;
                    }
                }
            }
            rest = after;
        }
        if let Some(&last) = bytes.last() {
            self.is_last_line_feed = last == b'\n';
        }
    }

    /// What looked like the beginning of `From ` was something else.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(FROM.get(..self.state.matched()).unwrap_or_default());
        self.state = State::Inside;
    }

    /// Appends what was held back, and returns the line feeds that make the next message begin after an empty line.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> &'static [u8] {
        if matches!(self.state, State::Matched(_)) {
            self.give_up(out);
        }
        padding(self.is_last_line_feed)
    }
}

/// What stands between a message and the line before the next one.
pub(super) fn padding(is_last_line_feed: bool) -> &'static [u8] {
    if is_last_line_feed { b"\n" } else { b"\n\n" }
}

/// Takes the quoting away again from a message that passes through.
#[derive(Debug, Default)]
pub(super) struct Unquoting {
    state: State,
    /// Whether a `>` is held back until it is known what it stands before.
    holds: bool,
}

impl Unquoting {
    /// Appends a part of a quoted message to `out`, as it was.
    pub(super) fn unquote(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Inside => {
                    (self.state, rest) = copy_inside(rest, out);
                    continue;
                }
                State::Start if byte == b'>' => {
                    if self.holds {
                        out.push(b'>');
                    }
                    self.holds = true;
                }
                State::Start | State::Matched(_) => {
                    let matched = self.state.matched();
                    if FROM.get(matched) != Some(&byte) {
                        self.give_up(matched, out);
                        continue;
                    }
                    self.state = State::Matched(matched + 1);
                    if matched + 1 == FROM.len() {
                        self.holds = false;
                        out.extend_from_slice(FROM);
                        self.state = State::Inside;
                    }
                }
            }
            rest = after;
        }
    }

    fn give_up(&mut self, matched: usize, out: &mut Vec<u8>) {
        if self.holds {
            out.push(b'>');
        }
        self.holds = false;
        out.extend_from_slice(FROM.get(..matched).unwrap_or_default());
        self.state = State::Inside;
    }

    /// Appends what was held back.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Matched(matched) => self.give_up(matched, out),
            State::Start => self.give_up(0, out),
            State::Inside => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(message: &[u8], cut: usize) -> Vec<u8> {
        let (mut quoting, mut out) = (Quoting::default(), Vec::new());
        let (first, second) = message.split_at(cut);
        quoting.quote(first, &mut out);
        quoting.quote(second, &mut out);
        quoting.end(&mut out);
        out
    }

    #[test]
    fn lines_that_look_like_separators_are_quoted() {
        let message = b"From a\r\n>From b\nFromage\n>> From c\n>>From d\n Fro";
        let expected = b">From a\r\n>>From b\nFromage\n>> From c\n>>>From d\n Fro";
        assert_eq!(quoted(message, 0), expected);
    }

    proptest! {
        #[test]
        fn quoting_is_undone_exactly_wherever_it_is_cut(
            message in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                prop::collection::vec(prop::sample::select(b">From \n\rx".to_vec()), 0..60)
            ],
            cut in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()
        ) {
            let text = quoted(&message, cut.index(message.len() + 1));
            prop_assert!(!text.starts_with(b"From ") && memchr::memmem::find(&text, b"\nFrom ").is_none());
            let (mut unquoting, mut back) = (Unquoting::default(), Vec::new());
            let (first, second) = text.split_at(other.index(text.len() + 1));
            unquoting.unquote(first, &mut back);
            unquoting.unquote(second, &mut back);
            unquoting.end(&mut back);
            prop_assert_eq!(back, message);
        }
    }
}
