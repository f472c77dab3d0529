//! `certificate`.

use std::path::PathBuf;

use clap::Subcommand;
use retention_core::id::{EntityId, RequestId, RunId};

use super::audit::Witnesses;
use super::parse_verifier_key;

/// `certificate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Write the certificate of a run: who decided and agreed, what was exported, destroyed and looked for, each with
    /// its proof.
    ///
    /// Example: retentionctl certificate run R210 --into R210.certificate
    ///
    /// Needs the role auditor.
    Run {
        /// The run.
        run: RunId,
        /// Write it into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Write the certificate of one entity that was purged.
    ///
    /// Example: retentionctl certificate item E1042 --into E1042.certificate
    ///
    /// Needs the role auditor.
    Item {
        /// The entity.
        entity: EntityId,
        /// Write it into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Write the certificate of what a data subject asked to be erased: who identified it, what was planned, destroyed and
    /// kept, and where copies remain.
    ///
    /// It tells what there is so far, and can be written again at any time: once a plan is there, and best after
    /// `subject complete`. Grounds and dates that stand in sealed events are said by the daemon and not proven; they stand
    /// apart. No personal data is in it.
    ///
    /// Example: retentionctl certificate request Q41 --into Q41.certificate
    ///
    /// Needs the role auditor.
    Request {
        /// The request.
        request: RequestId,
        /// Write it into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Check a certificate: its signature, every proof, and that what it states follows from its events.
    ///
    /// What is shown as `said_without_proof` does not follow from them: the signature alone is behind it.
    ///
    /// Ends with 20 when anything does not hold. With --witness it also says who cosigned the checkpoint under its
    /// proofs, and ends with 20 when too few did.
    ///
    /// Example: retentionctl certificate verify E1042.certificate --key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
    ///
    /// Needs no daemon.
    Verify {
        /// The certificate.
        file: PathBuf,
        /// A verifier key, as `audit keys` lists it, or KEY@EVENT when that event replaced it; may be repeated.
        #[arg(long = "key", required = true, value_name = "KEY", value_parser = parse_verifier_key)]
        keys: Vec<String>,
        #[command(flatten)]
        witnesses: Witnesses,
    },
    /// Make a page of a certificate that people can read and print. It is checked first.
    ///
    /// Example: retentionctl certificate page E1042.certificate --key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW --into E1042.html
    ///
    /// Needs no daemon.
    Page {
        /// The certificate.
        file: PathBuf,
        /// A verifier key, as `audit keys` lists it, or KEY@EVENT when that event replaced it; may be repeated.
        #[arg(long = "key", required = true, value_name = "KEY", value_parser = parse_verifier_key)]
        keys: Vec<String>,
        /// Write the page into this file, which must not exist.
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
    },
}
