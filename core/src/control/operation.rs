//! Every operation of the control API: its method, path and role in one table, which the daemon's routes, its OpenAPI
//! document and the tool share.

use std::fmt::{self, Write as _};

use super::Role;

/// The HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; may be repeated at will.
    Get,
    /// Appends a request or does work.
    Post,
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// One JSON value.
    One,
    /// A [`Page`](super::Page), or a stream of [`Line`](super::Line)s when the caller accepts NDJSON.
    List,
    /// Always a stream of lines: long work that tells how far it is.
    Stream,
    /// Bytes that are no JSON: the content of a file.
    File,
}

macro_rules! operations {
    ($(#[doc = $sentence:literal] $name:ident $method:ident $path:literal $role:ident $answer:ident;)*) => {
        /// One operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(#[doc = $sentence] $name,)*
        }

        impl Operation {
            /// All operations, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name in the OpenAPI document and in the access events.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Returns the method.
            #[must_use]
            pub fn method(self) -> Method {
                match self { $(Self::$name => Method::$method,)* }
            }

            /// Returns the path; what stands in braces is an argument.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// Returns the role that it needs.
            #[must_use]
            pub fn role(self) -> Role {
                match self { $(Self::$name => Role::$role,)* }
            }

            /// Returns the shape of the answer.
            #[must_use]
            pub fn answer(self) -> Answer {
                match self { $(Self::$name => Answer::$answer,)* }
            }

            /// Returns the sentence that says what it does.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence.trim_ascii(),)* }
            }
        }
    };
}

operations! {
    /// Says how the daemon is and what waits for a person.
    Status Get "/v1/status" Auditor One;
    /// Checks a configuration: the one that is sent, or the daemon's own file.
    ConfigCheck Post "/v1/config/check" Auditor One;
    /// Lists the active policies.
    PolicyList Get "/v1/policies" Auditor List;
    /// Shows one active policy with its text.
    PolicyShow Get "/v1/policies/{policy}" Auditor One;
    /// Says which entities a changed set of policies would newly dispose of, or newly keep.
    PolicyDiff Post "/v1/policies/diff" Auditor List;
    /// Counts, by source and kind, which entities no enforced policy is about.
    PolicyCoverage Get "/v1/coverage" Auditor List;
    /// Shows every policy, hold and date that touches one entity, and who wins.
    PolicyExplain Get "/v1/entities/{entity}/explanation" Auditor One;
    /// Lists what was taken in.
    IntakeList Get "/v1/intakes" Auditor List;
    /// Lists what lies in drop folders and is not taken in. This is recorded, since a name may name a person.
    IntakeLeft Get "/v1/intakes/left" Auditor List;
    /// Shows one intake: counts, defects, outcome.
    IntakeShow Get "/v1/intakes/{entity}" Auditor One;
    /// Lists entities, without their content.
    EntityList Get "/v1/entities" Auditor List;
    /// Opens the content of one entity. This is recorded.
    EntityShow Get "/v1/entities/{entity}" Auditor One;
    /// Lists the events of one entity.
    EntityHistory Get "/v1/entities/{entity}/history" Auditor List;
    /// Asks for a plan.
    PlanMake Post "/v1/plans" Operator One;
    /// Lists plans, the newest first.
    PlanList Get "/v1/plans" Auditor List;
    /// Shows one plan; waits for it to be frozen if asked to.
    PlanShow Get "/v1/plans/{plan}" Auditor One;
    /// Lists the items of a plan.
    PlanItems Get "/v1/plans/{plan}/items" Auditor List;
    /// Accepts a plan digest.
    PlanApprove Post "/v1/plans/{plan}/approve" Approver One;
    /// Refuses a plan digest; the plan can never run.
    PlanReject Post "/v1/plans/{plan}/reject" Approver One;
    /// Lists what waits for a decision of a person under a policy.
    ReviewList Get "/v1/policies/{policy}/review" Auditor List;
    /// Decides what becomes of items that wait: dispose, or keep until a day.
    ReviewDecide Post "/v1/policies/{policy}/review" Approver One;
    /// Shows one such decision.
    ReviewShow Get "/v1/reviews/{review}" Auditor One;
    /// Asks for the run of an approved plan.
    RunStart Post "/v1/runs" Operator One;
    /// Lists runs, the newest first.
    RunList Get "/v1/runs" Auditor List;
    /// Shows one run.
    RunShow Get "/v1/runs/{run}" Auditor One;
    /// Streams the state of a run whenever it changes, until it ends.
    RunWatch Get "/v1/runs/{run}/watch" Auditor Stream;
    /// Stops a run before its next item.
    RunPause Post "/v1/runs/{run}/pause" Operator One;
    /// Lets a paused run go on.
    RunResume Post "/v1/runs/{run}/resume" Operator One;
    /// Ends a run early and undoes what can be undone.
    RunCancel Post "/v1/runs/{run}/cancel" Operator One;
    /// Says what a run destroyed and what can still be brought back: for when it should not have been.
    RunIncident Get "/v1/runs/{run}/incident" Auditor One;
    /// Places a legal hold on entities, mailboxes, policies, or whatever a standing query catches.
    HoldPlace Post "/v1/holds" Operator One;
    /// Lists the holds: those in force, those due for review, or those that were released.
    HoldList Get "/v1/holds" Auditor List;
    /// Shows one hold with the filter of its standing query.
    HoldShow Get "/v1/holds/{hold}" Auditor One;
    /// Releases a hold; it still protects for some time.
    HoldRelease Post "/v1/holds/{hold}/release" Operator One;
    /// Looks for a data subject in all sources and mailboxes. This is recorded.
    SubjectFind Post "/v1/subjects/find" Auditor Stream;
    /// Says how far the search for a data subject reaches: which registered mailboxes were read, and when.
    SubjectReach Get "/v1/subjects/reach" Auditor List;
    /// Takes in what a data subject asks for.
    SubjectAsk Post "/v1/requests" Operator One;
    /// Lists the requests of data subjects: those that are open, late, due for review, or all.
    SubjectRequestList Get "/v1/requests" Auditor List;
    /// Shows one request of a data subject: where it stands, its exceptions, and who has copies.
    SubjectRequestShow Get "/v1/requests/{request}" Auditor One;
    /// Lists the records of a request, and what keeps each of them.
    SubjectRequestRecords Get "/v1/requests/{request}/records" Auditor List;
    /// Says who asks, and which records are theirs: they are looked for again. This is recorded.
    SubjectIdentify Post "/v1/requests/{request}/identify" Operator Stream;
    /// Says that the answer takes longer, up to three months from the day on which the request came.
    SubjectExtend Post "/v1/requests/{request}/extend" Operator One;
    /// Keeps records although their erasure was asked for.
    SubjectExcept Post "/v1/requests/{request}/exceptions" Operator One;
    /// Ends such an exception: what it kept is planned for erasure.
    SubjectExceptionEnd Post "/v1/requests/{request}/exceptions/{exception}/end" Operator One;
    /// Hands out the package with everything that is stored of a data subject. This is recorded.
    SubjectPackage Post "/v1/requests/{request}/package" Operator File;
    /// Says that somebody who got a copy was told what became of the data.
    SubjectTold Post "/v1/requests/{request}/recipients/{recipient}/told" Operator One;
    /// Says that a data subject has the answer.
    SubjectComplete Post "/v1/requests/{request}/complete" Operator One;
    /// Restricts the use of entities: they are kept, and neither purged, exported nor shown.
    RestrictionPlace Post "/v1/restrictions" Operator One;
    /// Lists the restrictions: those in force, or those that were lifted.
    RestrictionList Get "/v1/restrictions" Auditor List;
    /// Lifts a restriction.
    RestrictionLift Post "/v1/restrictions/{restriction}/lift" Operator One;
    /// Stops purges of everything, of one policy or of one mailbox before the next item.
    Pause Post "/v1/pause" Operator One;
    /// Lets purges go on that were paused.
    Resume Post "/v1/resume" Operator One;
    /// Lists the export bundles.
    ExportList Get "/v1/exports" Auditor List;
    /// Reads a bundle back from disk and compares it with its manifest and the log.
    ExportVerify Post "/v1/exports/{manifest}/verify" Auditor Stream;
    /// Says that somebody got a copy of a bundle.
    ExportHandOver Post "/v1/exports/{manifest}/hand-over" Operator One;
    /// Lists what waits in quarantine.
    QuarantineList Get "/v1/quarantine" Auditor List;
    /// Takes an entity back out of quarantine; the run that hid it will not purge it.
    QuarantineRestore Post "/v1/quarantine/{entity}/restore" Operator One;
    /// Registers mailboxes on mail servers, or registers them anew.
    MailboxAdd Post "/v1/mailboxes" Operator One;
    /// Lists the registered mailboxes. This is recorded.
    MailboxList Get "/v1/mailboxes" Auditor List;
    /// Shows one registered mailbox. This is recorded.
    MailboxShow Get "/v1/mailboxes/{mailbox}" Auditor One;
    /// Logs in to a mailbox and says what works there, and what is missing.
    MailboxCheck Post "/v1/mailboxes/{mailbox}/check" Operator List;
    /// Asks that a mailbox be looked at now.
    MailboxScan Post "/v1/mailboxes/{mailbox}/scan" Operator One;
    /// Lists who may do what in a mailbox, as it was last seen. This is recorded.
    MailboxPermissions Get "/v1/mailboxes/{mailbox}/permissions" Auditor List;
    /// Takes a mailbox out of the registry and destroys its credential.
    MailboxRemove Post "/v1/mailboxes/{mailbox}/remove" Operator One;
    /// Asks that a mailbox be copied into another.
    MailboxMigrate Post "/v1/migrations" Operator One;
    /// Lists migrations, the newest first.
    MigrationList Get "/v1/migrations" Auditor List;
    /// Shows one migration.
    MigrationShow Get "/v1/migrations/{migration}" Auditor One;
    /// Stops a migration before its next message.
    MigrationStop Post "/v1/migrations/{migration}/stop" Operator One;
    /// Asks for access to a mailbox for a time.
    GrantGive Post "/v1/grants" Operator One;
    /// Asks that the permissions of all registered mailboxes be looked at now and compared with the grants.
    GrantReconcile Post "/v1/grants/reconcile" Operator One;
    /// Lists grants, the newest first.
    GrantList Get "/v1/grants" Auditor List;
    /// Shows one grant, with who has it. This is recorded.
    GrantShow Get "/v1/grants/{grant}" Auditor One;
    /// Accepts a grant.
    GrantApprove Post "/v1/grants/{grant}/approve" Approver One;
    /// Refuses a grant; it is never given.
    GrantReject Post "/v1/grants/{grant}/reject" Approver One;
    /// Makes the lease of a grant longer, within what its policy allows.
    GrantRenew Post "/v1/grants/{grant}/renew" Operator One;
    /// Ends a grant now.
    GrantRevoke Post "/v1/grants/{grant}/revoke" Operator One;
    /// Says that the clock is right although it was doubted; purges go on.
    ClockConfirm Post "/v1/clock/confirm" Operator One;
    /// Lists notices: those that are owed, those that were sent or given up, as far as they are not over for long.
    NoticeList Get "/v1/notices" Auditor List;
    /// Says that a person knows of notices that were given up: they raise no alarm any more.
    NoticeAcknowledge Post "/v1/notices/acknowledge" Operator One;
    /// Sends a test through a channel of notices.
    NoticeTest Post "/v1/notices/{channel}/test" Operator One;
    /// Lists the signed checkpoints of the log, the oldest first.
    AuditCheckpoints Get "/v1/audit/checkpoints" Auditor List;
    /// Shows the newest signed checkpoint.
    AuditCheckpoint Get "/v1/audit/checkpoint" Auditor One;
    /// Lists the keys with which checkpoints are, or were, signed.
    AuditKeys Get "/v1/audit/keys" Auditor List;
    /// Proves that an event stands in the log, by the newest checkpoint.
    AuditProof Get "/v1/audit/proofs/{position}" Auditor One;
    /// Proves that the log has only grown between two of its checkpoints, by how many events they cover.
    AuditGrowth Get "/v1/audit/growth/{before}/{after}" Auditor One;
    /// Lists the envelopes of the log, the oldest first: what its tree is made of, and nothing of any body.
    AuditEnvelopes Get "/v1/audit/envelopes" Auditor List;
    /// Writes the certificate of a run.
    CertificateRun Get "/v1/certificates/runs/{run}" Auditor One;
    /// Writes the certificate of an entity that was purged.
    CertificateEntity Get "/v1/certificates/entities/{entity}" Auditor One;
    /// Writes the certificate of a request for erasure.
    CertificateRequest Get "/v1/certificates/requests/{request}" Auditor One;
    /// Lists events.
    AuditQuery Get "/v1/events" Auditor List;
    /// Streams events, the oldest first, and those that are recorded later as they come.
    AuditFollow Get "/v1/events/follow" Auditor Stream;
    /// Copies the log and its keys to the places that the configuration names.
    BackupMake Post "/v1/backups" Admin Stream;
    /// Lists the backups, the newest first.
    BackupList Get "/v1/backups" Auditor List;
    /// Reads a backup back and compares it with its manifest.
    BackupVerify Post "/v1/backups/{last}/verify" Admin Stream;
    /// Says that a restored store may purge, give and take again.
    RestoreConfirm Post "/v1/restore/confirm" Operator One;
    /// Reads the whole store and compares it with itself.
    StoreVerify Post "/v1/store/verify" Admin Stream;
    /// Makes everything in sled again from the journal.
    StoreRebuild Post "/v1/store/rebuild" Admin Stream;
    /// Takes what was erased off the disk: the daemon stops its work for it, and goes on.
    StoreCompact Post "/v1/store/compact" Admin Stream;
    /// Says when the keys of the store were changed, and how many data keys are live and destroyed; no key is told.
    KeyStatus Get "/v1/keys" Auditor One;
    /// Asks for new wrapping keys, or for a new key that signs checkpoints: the daemon stops its work for it, and goes on.
    KeyRotate Post "/v1/keys/rotate" Admin One;
    /// Says when each schedule fires next.
    ScheduleNext Get "/v1/schedule" Auditor List;
}

impl Operation {
    /// Returns the path with its arguments filled in, each encoded so that it stays one segment.
    ///
    /// Arguments that are missing leave their segment empty, which no route matches.
    #[must_use]
    pub fn path_with(self, arguments: &[&dyn fmt::Display]) -> String {
        let mut arguments = arguments.iter();
        let mut path = String::new();
        for segment in self.path().split('/').skip(1) {
            path.push('/');
            match segment.starts_with('{') {
                true => {
                    if let Some(argument) = arguments.next() {
                        path.push_str(&encode_component(&argument.to_string()));
                    }
                }
                false => path.push_str(segment),
            }
        }
        path
    }
}

/// Returns a text percent-encoded for one path segment or query value (RFC 3986, unreserved characters stay).
#[must_use]
pub(super) fn encode_component(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_operations_share_a_method_and_a_path() {
        for (n, a) in Operation::ALL.iter().enumerate() {
            for b in &Operation::ALL[n + 1..] {
                assert!(a.method() != b.method() || a.path() != b.path(), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn whoever_changes_anything_needs_more_than_reading() {
        use Operation::{ConfigCheck, ExportVerify, PolicyDiff, SubjectFind};
        for &operation in Operation::ALL {
            let reads = operation.method() == Method::Get
                || matches!(operation, ConfigCheck | PolicyDiff | ExportVerify | SubjectFind);
            assert_eq!(operation.role() == Role::Auditor, reads, "{operation:?}");
        }
    }

    #[test]
    fn an_argument_cannot_leave_its_segment() {
        assert_eq!(Operation::PlanItems.path_with(&[&"P7"]), "/v1/plans/P7/items");
        assert_eq!(Operation::PolicyShow.path_with(&[&"../a?b=č"]), "/v1/policies/..%2Fa%3Fb%3D%C4%8D");
    }
}
