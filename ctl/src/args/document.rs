//! `document`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

/// `document`.
#[derive(Debug, Subcommand)]
pub(crate) enum Document {
    /// Write the record of processing activities (GDPR Art. 30(1)), as far as the policies tell it.
    ///
    /// One entry for each policy: what is kept, for how long, on which basis, and what this program does for its
    /// security. What no policy says (purposes, data subjects, recipients) is left open for you to fill in. It
    /// shows the filters of the policies, so it is for inside.
    ///
    /// Example: retentionctl document ropa policies
    ///
    /// Needs no daemon when a directory is named; otherwise the role auditor.
    Ropa(DocumentArgs),
    /// Write the deletion concept (DIN 66398): data classes by standard period and start, and the rule of each policy.
    ///
    /// Data classes without an enforced policy are named apart: nothing of them is ever deleted. It shows the filters
    /// of the policies, so it is for inside.
    ///
    /// Example: retentionctl document deletion-concept policies --format csv
    ///
    /// Needs no daemon when a directory is named; otherwise the role auditor.
    DeletionConcept(DocumentArgs),
    /// Write what a privacy notice says about storage (GDPR Art. 13, 14), in plain words.
    ///
    /// What is not in force stands under a heading of its own, which is not for publication. It shows neither filters
    /// nor persons; where a filter narrows a policy you say in your own words what it means.
    ///
    /// Example: retentionctl document privacy-notice policies
    ///
    /// Needs no daemon when a directory is named; otherwise the role auditor.
    PrivacyNotice(DocumentArgs),
}

/// What a document is made from, and in which form.
#[derive(Debug, ClapArgs)]
pub(crate) struct DocumentArgs {
    /// The directory with one TOML file for each policy; without it, the policies that are active in the daemon.
    pub(crate) dir: Option<PathBuf>,
    /// The form of the document. It goes to standard output; --output is for answers of the daemon and changes nothing
    /// here.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    pub(crate) format: Form,
}

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Markdown,
    /// For programs: comma-separated, safe to open in a spreadsheet.
    Csv,
}
