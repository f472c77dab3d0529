//! `[[audit.witness]]`, checked.

use std::ops::Range;

use retention_core::evidence::cosignature::{WITNESSES_MAX, WitnessKey};
use toml::Spanned;

use super::server::is_protected_url;
use super::{Check, is_name};
use crate::config::WitnessOf;
use crate::config::file;
use crate::diagnostics::Redacted;

impl Check<'_> {
    pub(super) fn witnesses(&mut self, written: Vec<Spanned<file::Witness>>) -> Option<Vec<WitnessOf>> {
        let mut seen: Vec<WitnessOf> = Vec::new();
        let mut all_are_good = true;
        for witness in written {
            let span = witness.span();
            let Some(witness) = self.witness(witness) else {
                all_are_good = false;
                continue;
            };
            if seen.iter().any(|other| other.name == witness.name) {
                self.problems.add(span.clone(), format!("another witness is already called `{}`", witness.name));
            }
            if let Some(other) = seen.iter().find(|other| other.key.has_same_secret(&witness.key)) {
                let message =
                    format!("the witness `{}` has the same key: one who signs twice is one witness", other.name);
                self.problems.add(span.clone(), message);
            }
            if seen.len() == WITNESSES_MAX {
                self.problems.add(span, format!("a log has {WITNESSES_MAX} witnesses at most"));
            }
            seen.push(witness);
        }
        all_are_good.then_some(seen)
    }

    fn witness(&mut self, written: Spanned<file::Witness>) -> Option<WitnessOf> {
        let span = written.span();
        let witness = written.into_inner();
        let name = match witness.name {
            Some(name) if is_name(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(name.span(), "a witness's name has letters, digits, '-', '_' or '.'"),
            None => self.witness_without("name", &span),
        };
        let url = match witness.url {
            Some(url) if is_protected_url(url.get_ref()) => Some(Redacted(url.into_inner())),
            Some(url) => {
                self.refuse(url.span(), "a witness has a URL with https://, or http:// on this machine itself")
            }
            None => self.witness_without("url", &span),
        };
        let key = match witness.key {
            Some(key) => match WitnessKey::parse(key.get_ref()) {
                Ok(key) => Some(key),
                Err(error) => self.refuse(key.span(), error.to_string()),
            },
            None => self.witness_without("key", &span),
        };
        let ca_file = match witness.ca_file {
            Some(file) => Some(self.path(Some(file))?),
            None => None,
        };
        Some(WitnessOf { name: name?, url: url?, key: key?, ca_file })
    }

    fn witness_without<T>(&mut self, key: &str, span: &Range<usize>) -> Option<T> {
        if !self.excused.contains(key) {
            self.problems.add(span.clone(), format!("this witness has no `{key}`"));
        }
        None
    }
}
