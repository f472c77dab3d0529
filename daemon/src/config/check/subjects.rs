//! `[subjects]`.

use std::collections::BTreeSet;

use retention_core::policy::{AgeRecipient, RECIPIENTS_MAX};

use super::super::{Subjects, file};
use super::Check;

impl Check<'_> {
    pub(super) fn subjects(&mut self, written: file::Subjects) -> Subjects {
        let Some(keys) = written.encrypt_to else { return Subjects::default() };
        let span = keys.span();
        let keys = keys.into_inner();
        if keys.is_empty() || keys.len() > RECIPIENTS_MAX {
            let message = format!(
                "`encrypt_to` names 1 to {RECIPIENTS_MAX} public keys; leave it out where nothing is encrypted"
            );
            self.problems.add(span, message);
        }
        let mut encrypt_to = BTreeSet::new();
        for key in keys {
            // What stands there may be a private key by mistake, so it is not repeated.
            match key.get_ref().parse::<AgeRecipient>() {
                Ok(recipient) if encrypt_to.contains(&recipient) => {
                    self.problems.add(key.span(), "`encrypt_to` names a key twice");
                }
                Ok(recipient) => drop(encrypt_to.insert(recipient)),
                Err(error) => self.problems.add(key.span(), format!("`encrypt_to` {error}")),
            }
        }
        Subjects { encrypt_to }
    }
}
