//! `[[activity]]`: which values of which field of a source mean which class of activity.

use std::collections::BTreeMap;

use retention_core::record::activity::{ActivityClass, ActivityRule, ActivityRules, ToldBy, folded, may_have};
use toml::Spanned;

use super::Check;
use crate::config::file;
use crate::config::reading::meant;

impl Check<'_> {
    /// Checks all rules; those that are wrong are told and left out. `sources` are the names of the sources.
    pub(super) fn activities(&mut self, written: Vec<Spanned<file::Activity>>, sources: &[String]) -> ActivityRules {
        let rules = written.into_iter().filter_map(|rule| self.activity(rule, sources)).collect();
        ActivityRules::new(rules)
    }

    fn activity(&mut self, written: Spanned<file::Activity>, sources: &[String]) -> Option<ActivityRule> {
        let span = written.span();
        let rule = written.into_inner();
        let Some(source) = rule.source.filter(|source| !source.get_ref().is_empty()) else {
            return self.refuse(span, "an `activity` names the `source` that it is about");
        };
        // What is recorded without a class because of a slip goes on counting for good.
        if !sources.contains(source.get_ref()) {
            let known: Vec<&str> = sources.iter().map(String::as_str).collect();
            let hint = meant(source.get_ref(), &known);
            return self.refuse(source.span(), format!("no `[[source]]` has this name{hint}"));
        }
        let source = source.into_inner();
        let kinds = ActivityRules::KINDS;
        let Some(written_kind) = rule.kind else {
            return self.refuse(span, "an `activity` names the `kind` that it is about: activity, post or task");
        };
        let kind = kinds.into_iter().find(|kind| kind.name() == written_kind.get_ref());
        let Some(kind) = kind else {
            return self.refuse(written_kind.span(), "only these count as activity: activity, post, task");
        };
        let told = match (rule.class, rule.field, rule.classes) {
            (Some(class), None, None) => ToldBy::Kind(self.class(&class)?),
            (None, Some(field), Some(classes)) => {
                if !may_have(kind, field.get_ref()) {
                    let message = format!("a {kind} has no such field; a source's own are custom.<label>");
                    return self.refuse(field.span(), message);
                }
                let at = classes.span();
                let mut known = BTreeMap::new();
                for (value, class) in classes.into_inner() {
                    let class_at = class.span();
                    let class = self.class(&class)?;
                    if known.insert(folded(&value), class).is_some() {
                        return self.refuse(class_at, "the same value stands twice, apart from case and blanks");
                    }
                }
                if known.is_empty() {
                    return self.refuse(at, "`classes` names at least one value and its class");
                }
                ToldBy::Field { field: field.into_inner(), classes: known }
            }
            _ => {
                let message = "an `activity` needs either `class`, or `field` with `classes`";
                return self.refuse(span, message);
            }
        };
        Some(ActivityRule { source, kind, told })
    }

    fn class(&mut self, name: &Spanned<String>) -> Option<ActivityClass> {
        let class = ActivityClass::from_name(name.get_ref());
        class.or_else(|| {
            let known: Vec<&str> = ActivityClass::names().collect();
            let hint = meant(name.get_ref(), &known);
            self.refuse(name.span(), format!("not a class of activity: {} or custom:<name>{hint}", known.join(", ")))
        })
    }
}
