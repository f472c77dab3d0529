//! The first schema of a package, which held no texts of messages.

use bincode::{Decode, Encode};

use crate::id::{Digest, RequestId};

/// Schema 1. A copy of what is stored of a data subject was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectPackageMade {
    /// For which request.
    pub request: RequestId,
    /// How many records are in it.
    pub records: u64,
    /// SHA-256 of the file as it was handed out.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// For how many keys it was encrypted; 0: it was not.
    pub recipients: u32,
}

/// What it did not look for was not missing in it: whether a text could have been fetched nobody knows any more.
impl From<SubjectPackageMade> for super::SubjectPackageMade {
    fn from(body: SubjectPackageMade) -> Self {
        let SubjectPackageMade { request, records, digest, bytes, recipients } = body;
        Self { request, records, digest, bytes, recipients, texts: 0, missing: Vec::new() }
    }
}
