//! What one mail server may cost us. A server is outside: whatever it sends is bounded here.

use std::time::Duration;

use crate::connector::mail::TEXT_BYTES_MAX;

/// The longest line of an answer, in bytes. The longest that a well-behaved server sends is a `SEARCH` answer, which we
/// ask for in windows of [`SEARCH_WINDOW`] messages: at most 11 bytes for each UID.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// The longest literal that is held in memory, in bytes. Bodies are never held: they stream. A message whose fields in a
/// header are longer is told as one whose header was not read: the literal is passed over.
pub(super) const LITERAL_HELD_BYTES_MAX: u64 = 1 << 20;

/// The largest message that is streamed, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = TEXT_BYTES_MAX;

/// All that one answer may hold in memory, in bytes, its literals included.
pub(super) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// All that is kept of the answers to one command, or to many that are sent together, in bytes as they are written: who has
/// rights on each of [`FOLDERS_MAX`] folders is far less.
pub(super) const HEARD_BYTES_MAX: usize = 32 << 20;

/// How deep lists may lie in lists. The answer of `NAMESPACE` needs two, a `BODYSTRUCTURE` is not asked for.
pub(super) const DEPTH_MAX: usize = 16;

/// How many values one answer may hold.
pub(super) const VALUES_MAX: usize = 200_000;

/// How many untagged answers one command may bring before the session is given up.
pub(super) const UNTAGGED_MAX: usize = 500_000;

/// How many folders one mailbox may have.
pub(super) const FOLDERS_MAX: usize = 20_000;

/// How many messages one `SEARCH` is asked about.
pub(super) const SEARCH_WINDOW: u32 = 50_000;

/// The bytes of a command's set of UIDs. RFC 7162, 4 recommends that servers take lines of at least 8,192 bytes.
pub(super) const UID_SET_BYTES_MAX: usize = 7_000;

/// How many commands may be under way at once. Their answers fit into the buffers of a connection, so that neither side
/// waits for the other to read.
pub(super) const PIPELINE_MAX: usize = 64;

/// The bytes of the commands that may be under way at once, for the same reason.
pub(super) const PIPELINE_BYTES_MAX: usize = 32 << 10;

/// How long a server may be silent.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take to come about, and a greeting to arrive.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(20);

/// How long one command may take, before what it carries is counted.
pub(super) const COMMAND_MAX: Duration = Duration::from_secs(180);

/// The slowest that a command and its answer may go over their whole length, in bytes a second. It adds to
/// [`COMMAND_MAX`], so a large message has time, and a server that sends or takes a byte now and then has not.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 4 << 10;

/// The longest text that is sent to a server as one string, in bytes. Longer ones are mistakes.
pub(super) const STRING_BYTES_MAX: usize = 64 << 10;
