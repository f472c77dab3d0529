//! `[subjects]`.

use retention_core::policy::AgeRecipient;

use super::super::{Subjects, file};
use super::Check;

impl Check<'_> {
    pub(super) fn subjects(&mut self, written: file::Subjects) -> Subjects {
        let Some(keys) = written.encrypt_to else { return Subjects::default() };
        let all = keys.span();
        let keys = keys.get_ref().iter().map(|key| (key.get_ref().as_str(), key.span()));
        let encrypt_to = AgeRecipient::read_all(keys, |at, problem| {
            self.problems.add(at.unwrap_or_else(|| all.clone()), format!("`encrypt_to` {problem}"));
        });
        Subjects { encrypt_to }
    }
}
