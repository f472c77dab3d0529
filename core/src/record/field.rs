//! The standard fields of each kind: one closed list that readers fill, policies name and bundles write.
//!
//! The names in capitals are the columns of the Outlook Customer Manager export script, version 1.4.

use super::{FieldType, Kind};

/// One standard field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name in policies and mapping files.
    pub name: &'static str,
    /// The column of the OCM script that holds it.
    pub ocm_column: &'static str,
    /// How policies read it.
    pub field_type: FieldType,
}

const fn text(name: &'static str, ocm_column: &'static str) -> Field {
    Field { name, ocm_column, field_type: FieldType::Text }
}

const fn list(name: &'static str, ocm_column: &'static str) -> Field {
    Field { name, ocm_column, field_type: FieldType::List }
}

const fn typed(name: &'static str, ocm_column: &'static str, field_type: FieldType) -> Field {
    Field { name, ocm_column, field_type }
}

const CONTACT: &[Field] = &[
    text("persona_id", "PersonaId"),
    list("id", "XrmId"),
    list("display_name", "DisplayName"),
    list("given_name", "GivenName"),
    list("middle_name", "MiddleName"),
    list("last_name", "LastName"),
    typed("birthday", "BirthDay", FieldType::Date),
    list("job_title", "JobTitle"),
    list("company_name", "CompanyName"),
    typed("is_business_contact", "IsBusinessContact", FieldType::Boolean),
    typed("shared", "Shared", FieldType::Boolean),
    list("email1", "Email1Address"),
    list("email1_display_name", "Email1DisplayName"),
    list("email1_original_display_name", "Email1OriginalDisplayName"),
    list("email2", "Email2Address"),
    list("email2_display_name", "Email2DisplayName"),
    list("email2_original_display_name", "Email2OriginalDisplayName"),
    list("email3", "Email3Address"),
    list("email3_display_name", "Email3DisplayName"),
    list("email3_original_display_name", "Email3OriginalDisplayName"),
    list("work_street", "WorkAddressStreet"),
    list("work_city", "WorkAddressCity"),
    list("work_state", "WorkAddressStateOrProvince"),
    list("work_postal_code", "WorkAddressPostalCode"),
    list("work_country", "WorkAddressCountry"),
    list("home_street", "HomeAddressStreet"),
    list("home_city", "HomeAddressCity"),
    list("home_state", "HomeAddressStateOrProvince"),
    list("home_postal_code", "HomeAddressPostalCode"),
    list("home_country", "HomeAddressCountry"),
    list("other_street", "OtherAddressStreet"),
    list("other_city", "OtherAddressCity"),
    list("other_state", "OtherAddressStateOrProvince"),
    list("other_postal_code", "OtherAddressPostalCode"),
    list("other_country", "OtherAddressCountry"),
    list("business_phone", "BusinessTelephoneNumber"),
    list("mobile_phone", "MobileTelephoneNumber"),
    list("home_phone", "HomeTelephoneNumber"),
    list("other_phone", "OtherTelephoneNumber"),
    text("notes", "Notes"),
    list("company_links", "CompanyLinks"),
    list("deal_links", "DealLinks"),
    list("item_id", "ItemId"),
];

const COMPANY: &[Field] = &[
    text("id", "XrmId"),
    text("display_name", "DisplayName"),
    text("home_page", "BusinessHomePage"),
    text("phone", "BusinessPhone"),
    text("email", "EmailAddress"),
    text("street", "BusinessAddressStreet"),
    text("city", "BusinessAddressCity"),
    text("state", "BusinessAddressState"),
    text("postal_code", "BusinessAddressPostalCode"),
    text("country", "BusinessAddressCountry/Region"),
    text("notes", "Notes"),
    typed("shared", "Shared", FieldType::Boolean),
    text("item_id", "ItemId"),
    list("contact_links", "ContactLinks"),
    list("deal_links", "DealLinks"),
];

const DEAL: &[Field] = &[
    text("id", "XrmId"),
    text("name", "DealName"),
    typed("amount", "Amount", FieldType::Money),
    text("priority", "Priority"),
    text("status", "Status"),
    text("stage", "Stage"),
    typed("close_date", "CloseDate", FieldType::Date),
    text("owner", "Owner"),
    typed("shared", "Shared", FieldType::Boolean),
    text("notes", "Notes"),
    list("company_links", "CompanyLink"),
    list("contact_links", "ContactLinks"),
    text("item_id", "ItemId"),
];

const TASK: &[Field] = &[
    text("id", "XrmID"),
    text("subject", "Subject"),
    typed("start_date", "StartDate", FieldType::Date),
    typed("due_date", "DueDate", FieldType::Date),
    typed("created", "DateTimeCreated", FieldType::Date),
    typed("modified", "LastModifiedTime", FieldType::Date),
    typed("reminder_is_set", "ReminderIsSet", FieldType::Boolean),
    typed("reminder_due_by", "ReminderDueBy", FieldType::Date),
    text("priority", "Priority"),
    text("status", "Status"),
    typed("percent_complete", "PercentComplete", FieldType::Number),
    text("notes", "Notes"),
    text("parent_type", "ParentType"),
    text("parent_link", "ParentLink"),
    text("item_id", "ItemId"),
];

const POST: &[Field] = &[
    text("id", "XrmId"),
    text("post_type", "PostType"),
    text("text", "PostText"),
    typed("event_time", "EventDateTime", FieldType::Date),
    text("parent_type", "ParentType"),
    text("parent_link", "ParentLink"),
    text("item_id", "ItemId"),
];

const ACTIVITY: &[Field] = &[
    text("source_user_name", "SourceUserName"),
    text("sub_type", "SubType"),
    text("action_verb", "ActionVerb"),
    typed("event_time", "EventTime", FieldType::Date),
    text("modified_properties", "ModifiedProperties"),
    list("contact_links", "LinkedContactIds"),
    list("deal_links", "LinkedDealIds"),
    list("company_links", "LinkedCompanyIds"),
];

const TEMPLATE: &[Field] =
    &[text("id", "FieldId"), text("label", "FieldLabel"), text("type", "FieldType"), list("options", "FieldInfo")];

const INSIGHT: &[Field] = &[
    text("id", "InsightId"),
    text("type", "InsightType"),
    text("text", "InsightText"),
    typed("event_time", "EventTime", FieldType::Date),
    text("parent_type", "ParentType"),
    text("parent_link", "ParentLink"),
];

const FILE: &[Field] = &[
    text("id", "FileId"),
    text("name", "FileName"),
    text("location", "Location"),
    typed("size", "Size", FieldType::Number),
    typed("created", "Created", FieldType::Date),
    typed("modified", "Modified", FieldType::Date),
    text("parent_type", "ParentType"),
    text("parent_link", "ParentLink"),
];

/// What of a message is recorded. Its subject and its text are not: no policy needs them.
const MESSAGE: &[Field] = &[
    text("folder", "Folder"),
    list("special_use", "SpecialUse"),
    typed("uid", "Uid", FieldType::Number),
    typed("uidvalidity", "UidValidity", FieldType::Number),
    typed("received", "InternalDate", FieldType::Date),
    typed("size", "Size", FieldType::Number),
    list("flags", "Flags"),
    list("keywords", "Keywords"),
    list("from", "From"),
    list("to", "To"),
    list("cc", "Cc"),
    text("list", "ListId"),
    text("message_id", "MessageId"),
    list("sender", "Sender"),
    list("reply_to", "ReplyTo"),
    list("bcc", "Bcc"),
    list("resent", "Resent"),
];

/// What is recorded of a month of the log.
const AUDIT_MONTH: &[Field] = &[text("month", "Month"), typed("closed", "Closed", FieldType::Date)];

/// Returns the standard fields of a kind, in the order of the OCM columns.
#[must_use]
pub fn standard(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Contact => CONTACT,
        Kind::Company => COMPANY,
        Kind::Deal => DEAL,
        Kind::Activity => ACTIVITY,
        Kind::Post => POST,
        Kind::Task => TASK,
        Kind::Insight => INSIGHT,
        Kind::Template => TEMPLATE,
        Kind::File => FILE,
        Kind::Message => MESSAGE,
        Kind::AuditMonth => AUDIT_MONTH,
        Kind::Mailbox | Kind::Intake => &[],
    }
}

/// The prefix of the fields that a source adds to the standard ones.
pub const CUSTOM_PREFIX: &str = "custom.";

/// Says whether a name is that of a field that a source adds to the standard ones.
#[must_use]
pub fn is_custom(name: &str) -> bool {
    name.strip_prefix(CUSTOM_PREFIX).is_some_and(|label| !label.is_empty())
}
