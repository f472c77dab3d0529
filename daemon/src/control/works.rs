//! What the control API asks of the rest of the daemon: the things that are neither in a view nor an event.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::control::{
    AddMailboxes, AskForSubject, BackupRow, Checked, CheckpointRow, EntryLeftRow, EnvelopeRow, ErrorBody, Explanation,
    GiveGrant, IdentifySubject, KeySlots, Line, MailboxFinding, NoticeTested, PartRow, PolicyDiffRow, PolicyFileText,
    Role, RunAccessTerms, ScheduleRow, SoughtSubject, SubjectRow,
};
use retention_core::event::grant::GrantRequested;
use retention_core::event::key::StoreKeys;
use retention_core::event::notice::Notice;
use retention_core::event::subject::SubjectRequested;
use retention_core::evidence::certificate::Subject;
use retention_core::evidence::cosignature::WitnessState;
use retention_core::id::{Digest, EntityId, Position, RequestId, RunId};
use retention_core::time::{Timestamp, Zone};

use super::package::Parts;
use super::reviews::{Decided, Waiting};

/// What is known of an active policy beside the views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFacts {
    /// The stem of its file.
    pub policy: String,
    /// What people call it.
    pub title: String,
    /// `draft`, `simulate` or `enforce`.
    pub state: String,
    /// Whether it ends the use of what is due.
    pub restricts: bool,
    /// Which role a person needs, beside that of an approver, to approve what it plans or gives.
    pub approver: Role,
    /// Its schedule, if it has one. The handler fills in what is due.
    pub schedule: Option<ScheduleRow>,
}

impl PolicyFacts {
    /// Says whether it makes plans that can be run.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.state == "enforce"
    }
}

/// A notice that a channel is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedNotice {
    /// The name of the channel.
    pub channel: String,
    /// What it is to be told.
    pub notice: Notice,
    /// Since when, as far as the daemon remembers.
    pub since: Timestamp,
    /// How often it was tried in vain.
    pub tries: u32,
    /// A stable code of the last failure.
    pub code: Option<String>,
}

/// Whether anybody still listens to long work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Somebody does.
    Listening,
    /// Nobody does: work that only answers a question may stop.
    Gone,
}

/// How a bundle can be read that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleThere {
    /// By whoever can read its files.
    InTheClear,
    /// By whoever has a key.
    Encrypted,
}

/// Takes the rows of long work, and tells whether anybody listens.
pub type Sink<'a, T = PartRow> = &'a mut dyn FnMut(Line<T>) -> Audience;

/// The rest of the daemon. Calls may block: they are made on blocking threads.
pub trait Works: Send + Sync + 'static {
    /// Checks the text of a configuration, or the daemon's own file when there is none.
    fn check_config(&self, text: Option<&str>) -> Checked;

    /// Returns the problems of the daemon's own file, when it could not be taken in as it lies there.
    fn config_problems(&self) -> Vec<String>;

    /// Returns the names of the sources and mail servers that the configuration declares.
    fn source_names(&self) -> BTreeSet<String>;

    /// Returns the active policies, by id.
    fn policies(&self) -> Vec<PolicyFacts>;

    /// Returns the problems of the policies on disk, when they are not the active ones because of that.
    fn policy_problems(&self) -> Vec<String>;

    /// Returns the enforced policies that name a source which is neither configured nor ever delivered anything, with
    /// that name.
    fn policies_of_no_source(&self) -> Vec<(String, String)>;

    /// Compares a set of policies with the active one, on the real data.
    ///
    /// # Errors
    /// Says what is wrong with the set.
    fn diff_policies(&self, files: &[PolicyFileText]) -> Result<Vec<PolicyDiffRow>, ErrorBody>;

    /// Judges one entity by all active policies.
    ///
    /// # Errors
    /// Says when the entity cannot be judged.
    fn explain(&self, entity: EntityId, now: Timestamp) -> Result<Explanation, ErrorBody>;

    /// Returns which of some entities wait for a decision under a policy; `None` when no such policy is active.
    ///
    /// # Errors
    /// When a record cannot be read, or the policies changed meanwhile.
    fn waiting_for_review(
        &self,
        policy: &str,
        entities: &[EntityId],
        decided: Decided,
        now: Timestamp,
    ) -> Result<Option<Waiting>, ErrorBody>;

    /// Reads a bundle back from disk.
    ///
    /// # Errors
    /// Says when there is no such bundle; what is wrong with one is told in rows.
    fn verify_export(&self, manifest: Digest, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Looks for the bundle of a manifest in the exports directory.
    ///
    /// # Errors
    /// When that cannot be read.
    fn bundle_there(&self, manifest: Digest) -> Result<Option<BundleThere>, ErrorBody>;

    /// Reads the whole store and compares it with itself.
    ///
    /// # Errors
    /// Says why it broke off; damage is told in rows.
    fn verify_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Makes everything in sled again from the journal. Goes on when nobody listens.
    ///
    /// # Errors
    /// Says why it broke off.
    fn rebuild_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Takes what was erased off the disk. Goes on when nobody listens.
    ///
    /// # Errors
    /// Says why it was not begun.
    fn compact_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Counts the data keys.
    ///
    /// # Errors
    /// Says when their files cannot be read.
    fn count_keys(&self) -> Result<KeySlots, ErrorBody>;

    /// Takes up a request for new keys that is in the log. The daemon stops its work for it; what does not come to that
    /// is done by the next start.
    fn take_up_rotation(&self, keys: StoreKeys);

    /// Registers mailboxes for a person: all of them, or none.
    ///
    /// # Errors
    /// Says what is wrong with which; nothing was registered.
    fn register_mailboxes(&self, uid: u32, wanted: AddMailboxes) -> Result<Vec<EntityId>, ErrorBody>;

    /// Takes a mailbox out of the registry.
    ///
    /// # Errors
    /// Says when it is not registered.
    fn remove_mailbox(&self, uid: u32, mailbox: EntityId, reason: String) -> Result<Position, ErrorBody>;

    /// Logs in to a mailbox and says what works there.
    ///
    /// # Errors
    /// Says when it is not registered; what does not work is told in rows.
    fn check_mailbox(&self, mailbox: EntityId) -> Result<Vec<MailboxFinding>, ErrorBody>;

    /// Returns the request for a grant with the terms of the policy that allows it.
    ///
    /// # Errors
    /// Says why no policy allows it.
    fn grant_terms(&self, wanted: GiveGrant) -> Result<GrantRequested, ErrorBody>;

    /// Returns the access that runs take under a version of a policy, as the log recorded it.
    ///
    /// # Errors
    /// Says when the log cannot be read.
    fn run_access(&self, policy_digest: Digest) -> Result<Option<RunAccessTerms>, ErrorBody>;

    /// Returns the zone in which months are counted.
    fn zone(&self) -> Zone;

    /// Looks for a data subject, for a person with a role.
    ///
    /// # Errors
    /// Says what cannot be read; nothing is shown then.
    fn find_subject(&self, uid: u32, sought: &SoughtSubject, sink: Sink<'_, SubjectRow>) -> Result<(), ErrorBody>;

    /// Returns the request of a data subject with the day until which it must be answered.
    ///
    /// # Errors
    /// Says what is missing or does not fit.
    fn subject_terms(&self, wanted: AskForSubject) -> Result<SubjectRequested, ErrorBody>;

    /// Says which records a request is about.
    ///
    /// # Errors
    /// Says what cannot be read, or is named and not there; nothing was recorded then.
    fn identify_subject(
        &self,
        uid: u32,
        request: RequestId,
        wanted: IdentifySubject,
        sink: Sink<'_, SubjectRow>,
    ) -> Result<(), ErrorBody>;

    /// Hands out the package with what is stored of a data subject, part by part.
    ///
    /// # Errors
    /// Says why there is none; what was handed out by then cannot be opened.
    fn package_subject(
        &self,
        uid: u32,
        request: RequestId,
        recipients: &[String],
        parts: Parts<'_>,
    ) -> Result<(), ErrorBody>;

    /// Returns signed checkpoints, from a number on, at most so many.
    ///
    /// # Errors
    /// Says when there is no tree, or it cannot be read.
    fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<CheckpointRow>, ErrorBody>;

    /// Returns the newest signed checkpoint.
    ///
    /// # Errors
    /// Says when there is none yet, or it cannot be read.
    fn newest_checkpoint(&self) -> Result<CheckpointRow, ErrorBody>;

    /// Returns the checkpoint that most witnesses cosigned lately.
    ///
    /// # Errors
    /// Says when there is none yet, or it cannot be read.
    fn cosigned_checkpoint(&self) -> Result<CheckpointRow, ErrorBody>;

    /// Proves that an event stands in the log.
    ///
    /// # Errors
    /// Says when there is no such event, or no checkpoint covers it yet.
    fn prove(&self, position: Position) -> Result<String, ErrorBody>;

    /// Proves that the log has only grown between two checkpoints, by how many events they cover.
    ///
    /// # Errors
    /// Says when one of them was never signed.
    fn prove_growth(&self, before: u64, after: u64) -> Result<String, ErrorBody>;

    /// Returns envelopes, from a position on, at most so many.
    ///
    /// # Errors
    /// Says when the journal cannot be read.
    fn envelopes(&self, from: Position, limit: usize) -> Result<Vec<EnvelopeRow>, ErrorBody>;

    /// Writes a certificate.
    ///
    /// # Errors
    /// Says when there is nothing to certify.
    fn certificate(&self, subject: Subject) -> Result<String, ErrorBody>;

    /// Makes a backup for a person, and removes the copies of keys whose time is over. Goes on when nobody listens.
    ///
    /// # Errors
    /// Says why there is none; those that were there before are as they were.
    fn make_backup(&self, uid: u32, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Returns the backups that there are, the newest first.
    ///
    /// # Errors
    /// Says when they cannot be read, or the configuration names no place for them.
    fn backups(&self) -> Result<Vec<BackupRow>, ErrorBody>;

    /// Reads a backup back.
    ///
    /// # Errors
    /// Says when there is no such backup; what is wrong with one is told in rows.
    fn verify_backup(&self, last: Position, sink: Sink<'_>) -> Result<(), ErrorBody>;

    /// Returns the places outside that do not have the newest checkpoint: what each is called, and why.
    fn publishing_behind(&self) -> Vec<(String, String)>;

    /// Returns how each witness stands, by its name in the configuration.
    fn witnesses(&self) -> Vec<(String, WitnessState)>;

    /// Returns the logs of other programs that were not told of the newest events: what each is called, and why.
    fn forwarding_behind(&self) -> Vec<(String, String)>;

    /// Returns the sources of which nothing is taken in: what each is called, and why.
    fn sources_stopped(&self) -> Vec<(String, String)>;

    /// Returns the entries of drop folders that are not taken in, by source and name.
    fn entries_left(&self) -> Vec<EntryLeftRow>;

    /// Says why new wrapping keys that are asked for could not be put in place, when that was tried.
    fn rotation_failed(&self) -> Option<String>;

    /// Sends a test through a channel of notices.
    ///
    /// # Errors
    /// When there is no such channel; that it did not take the test is told in the answer.
    fn test_channel(&self, channel: &str) -> Result<NoticeTested, ErrorBody>;

    /// Returns the channels of notices that do not take what they are given: the name, how many notices wait, and the
    /// code of the last failure.
    fn notices_failing(&self) -> Vec<(String, u64, String)>;

    /// Returns the notices that channels are to be told, as they were seen last.
    fn notices_owed(&self) -> Vec<OwedNotice>;

    /// Returns the channel that tells a recipient of copies what became of the data, by the name that was given when
    /// they got one.
    fn channel_of_recipient(&self, name: &str) -> Option<String>;

    /// Returns the runs that wait for a bundle before they purge what it is a copy of, with the code of why.
    fn bundles_missed(&self) -> BTreeMap<RunId, String>;

    /// Says why the ledger of erasures is behind, when it is.
    fn ledger_behind(&self) -> Option<String>;

    /// Returns the stages of the daemon whose steps fail again and again, with what the last one said.
    fn stages_failing(&self) -> Vec<(String, String)>;

    /// Says why no backup was made although it was its time, or that somebody changed the manifest of one.
    fn backup_failed(&self) -> Option<String>;

    /// Says why checkpoints are no longer signed, when they are not.
    fn tree_stopped(&self) -> Option<String>;

    /// Returns the metrics in the text format of Prometheus, or nothing when they are off.
    fn metrics(&self) -> Option<String>;
}
