//! The OpenAPI document, made from the table of operations and from the wire types themselves.

use retention_core::control as wire;
use retention_core::control::{Answer, ErrorBody, Method, NDJSON, Operation};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, ComponentsBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{IntoParams, ToSchema};

/// What an operation takes and gives.
struct Contents {
    query: Vec<Parameter>,
    body: Option<RefOr<Schema>>,
    answer: RefOr<Schema>,
    /// Collects the schemas that are named.
    schemas: Vec<(String, RefOr<Schema>)>,
}

fn gives<T: ToSchema>() -> Contents {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    let answer = RefOr::Ref(Ref::from_schema_name(T::name()));
    Contents { query: Vec::new(), body: None, answer, schemas }
}

impl Contents {
    fn asked<Q: IntoParams>(self) -> Self {
        Self { query: Q::into_params(|| Some(ParameterIn::Query)), ..self }
    }

    fn taking<B: ToSchema>(mut self) -> Self {
        self.schemas.push((B::name().into_owned(), B::schema()));
        B::schemas(&mut self.schemas);
        Self { body: Some(RefOr::Ref(Ref::from_schema_name(B::name()))), ..self }
    }
}

fn contents(operation: Operation) -> Contents {
    use wire::{ListQuery, WaitQuery};
    match operation {
        Operation::Status => gives::<wire::Status>(),
        Operation::ConfigCheck => gives::<wire::Checked>().taking::<wire::CheckConfig>(),
        Operation::PolicyList => gives::<wire::PolicyRow>().asked::<wire::PolicyQuery>(),
        Operation::PolicyShow => gives::<wire::PolicyDetail>(),
        Operation::PolicyDiff => gives::<wire::PolicyDiffRow>().asked::<ListQuery>().taking::<wire::DiffPolicies>(),
        Operation::PolicyCoverage => gives::<wire::CoverageRow>().asked::<ListQuery>(),
        Operation::PolicyExplain => gives::<wire::Explanation>(),
        Operation::IntakeList => gives::<wire::IntakeRow>().asked::<ListQuery>(),
        Operation::IntakeLeft => gives::<wire::EntryLeftRow>().asked::<ListQuery>(),
        Operation::IntakeShow => gives::<wire::IntakeRow>(),
        Operation::EntityList => gives::<wire::EntityRow>().asked::<wire::EntityQuery>(),
        Operation::EntityShow => gives::<wire::EntityContent>(),
        Operation::EntityHistory => gives::<wire::EventRow>().asked::<ListQuery>(),
        Operation::PlanMake => gives::<wire::Accepted>().taking::<wire::MakePlan>(),
        Operation::PlanList => gives::<wire::PlanRow>().asked::<ListQuery>(),
        Operation::PlanShow => gives::<wire::PlanRow>().asked::<WaitQuery>(),
        Operation::PlanItems => gives::<wire::PlanItemRow>().asked::<ListQuery>(),
        Operation::PlanApprove | Operation::PlanReject => gives::<wire::Accepted>().taking::<wire::JudgePlan>(),
        Operation::ReviewList => gives::<wire::ReviewItemRow>().asked::<ListQuery>(),
        Operation::ReviewDecide => gives::<wire::Accepted>().taking::<wire::DecideReview>(),
        Operation::ReviewShow => gives::<wire::ReviewRow>(),
        Operation::RunStart => gives::<wire::Accepted>().taking::<wire::StartRun>(),
        Operation::RunList => gives::<wire::RunRow>().asked::<ListQuery>(),
        Operation::RunShow => gives::<wire::RunRow>().asked::<WaitQuery>(),
        Operation::RunIncident => gives::<wire::Incident>(),
        Operation::RunWatch => gives::<wire::RunRow>(),
        Operation::RunPause | Operation::RunResume | Operation::RunCancel | Operation::QuarantineRestore => {
            gives::<wire::Accepted>().taking::<wire::Because>()
        }
        Operation::HoldPlace => gives::<wire::Accepted>().taking::<wire::PlaceHold>(),
        Operation::HoldList => gives::<wire::HoldRow>().asked::<wire::HoldQuery>(),
        Operation::HoldShow => gives::<wire::HoldRow>(),
        Operation::HoldRelease => gives::<wire::Accepted>().taking::<wire::ReleaseHold>(),
        Operation::SubjectFind => gives::<wire::SubjectRow>().taking::<wire::SoughtSubject>(),
        Operation::SubjectReach => gives::<wire::ReachRow>().asked::<ListQuery>(),
        Operation::SubjectAsk => gives::<wire::Accepted>().taking::<wire::AskForSubject>(),
        Operation::SubjectRequestList => gives::<wire::SubjectRequestRow>().asked::<wire::RequestQuery>(),
        Operation::SubjectRequestShow => gives::<wire::SubjectRequestDetail>(),
        Operation::SubjectRequestRecords => gives::<wire::RequestRecordRow>().asked::<ListQuery>(),
        Operation::SubjectIdentify => gives::<wire::SubjectRow>().taking::<wire::IdentifySubject>(),
        Operation::SubjectExcept => gives::<wire::Accepted>().taking::<wire::ExceptErasure>(),
        Operation::SubjectPackage => gives::<wire::Accepted>().taking::<wire::PackageSubject>(),
        Operation::ExportHandOver => gives::<wire::Accepted>().taking::<wire::HandOver>(),
        Operation::SubjectComplete => gives::<wire::Accepted>().taking::<wire::CompleteRequest>(),
        Operation::RestrictionPlace => gives::<wire::Accepted>().taking::<wire::PlaceRestriction>(),
        Operation::RestrictionList => gives::<wire::RestrictionRow>().asked::<wire::RestrictionQuery>(),
        Operation::Pause | Operation::Resume => gives::<wire::Accepted>().taking::<wire::PauseDisposal>(),
        Operation::ExportList => gives::<wire::ExportRow>().asked::<ListQuery>(),
        Operation::ExportVerify
        | Operation::StoreVerify
        | Operation::StoreRebuild
        | Operation::StoreCompact
        | Operation::BackupMake
        | Operation::BackupVerify => gives::<wire::PartRow>(),
        Operation::BackupList => gives::<wire::BackupRow>().asked::<ListQuery>(),
        Operation::QuarantineList => gives::<wire::QuarantineRow>().asked::<ListQuery>(),
        Operation::MailboxAdd => gives::<wire::MailboxesAdded>().taking::<wire::AddMailboxes>(),
        Operation::MailboxList => gives::<wire::MailboxRow>().asked::<wire::MailboxQuery>(),
        Operation::MailboxShow => gives::<wire::MailboxRow>(),
        Operation::MailboxCheck => gives::<wire::MailboxFinding>(),
        Operation::MailboxPermissions => gives::<wire::PermissionRow>().asked::<ListQuery>(),
        Operation::NoticeList => gives::<wire::NoticeRow>().asked::<wire::NoticeQuery>(),
        Operation::NoticeAcknowledge => gives::<wire::NoticesAcknowledged>().taking::<wire::AcknowledgeNotices>(),
        Operation::NoticeTest => gives::<wire::NoticeTested>(),
        Operation::GrantReconcile => gives::<wire::Reconciling>(),
        Operation::MailboxScan => gives::<wire::Accepted>(),
        Operation::MailboxRemove
        | Operation::GrantRevoke
        | Operation::ClockConfirm
        | Operation::MigrationStop
        | Operation::SubjectExtend
        | Operation::SubjectExceptionEnd
        | Operation::SubjectTold
        | Operation::RestoreConfirm => gives::<wire::Accepted>().taking::<wire::Because>(),
        Operation::RestrictionLift => gives::<wire::Accepted>().taking::<wire::LiftRestriction>(),
        Operation::MailboxMigrate => gives::<wire::Accepted>().taking::<wire::MigrateMailbox>(),
        Operation::MigrationList => gives::<wire::MigrationRow>().asked::<ListQuery>(),
        Operation::MigrationShow => gives::<wire::MigrationRow>(),
        Operation::GrantGive => gives::<wire::Accepted>().taking::<wire::GiveGrant>(),
        Operation::GrantList => gives::<wire::GrantRow>().asked::<ListQuery>(),
        Operation::GrantShow => gives::<wire::GrantDetail>(),
        Operation::GrantApprove | Operation::GrantReject => gives::<wire::Accepted>().taking::<wire::JudgeGrant>(),
        Operation::GrantRenew => gives::<wire::Accepted>().taking::<wire::RenewGrant>(),
        Operation::AuditCheckpoints => gives::<wire::CheckpointRow>().asked::<ListQuery>(),
        Operation::AuditCheckpoint => gives::<wire::CheckpointRow>().asked::<wire::CheckpointQuery>(),
        Operation::AuditKeys => gives::<wire::SigningKeyRow>().asked::<ListQuery>(),
        Operation::AuditProof | Operation::AuditGrowth => gives::<wire::ProofText>(),
        Operation::CertificateRun | Operation::CertificateEntity | Operation::CertificateRequest => {
            gives::<wire::CertificateText>()
        }
        Operation::AuditEnvelopes => gives::<wire::EnvelopeRow>().asked::<ListQuery>(),
        Operation::AuditQuery | Operation::AuditFollow => gives::<wire::EventRow>().asked::<wire::AuditQuery>(),
        Operation::KeyStatus => gives::<wire::KeyStatus>(),
        Operation::KeyRotate => gives::<wire::Accepted>().taking::<wire::RotateKeys>(),
        Operation::ScheduleNext => gives::<wire::ScheduleRow>().asked::<ListQuery>(),
    }
}

/// Returns the document that `/openapi.json` serves.
#[must_use]
pub fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new();
    for (name, schema) in shared_schemas() {
        components = components.schema(name, schema);
    }
    for &operation in Operation::ALL {
        let contents = contents(operation);
        for (name, schema) in &contents.schemas {
            components = components.schema(name.clone(), schema.clone());
        }
        paths = paths.path(operation.path(), PathItem::new(method(operation), describe(operation, contents)));
    }
    let info = InfoBuilder::new()
        .title("retentiond control API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "HTTP/1.1 over the Unix socket of retentiond. The role of a caller follows from the peer credentials. \
             Lists come as a page, or as lines when the caller accepts application/x-ndjson: a stream without its \
             `end` line was cut off.",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

fn shared_schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (ErrorBody::name().into_owned(), <ErrorBody as utoipa::PartialSchema>::schema()),
        (wire::Progress::name().into_owned(), <wire::Progress as utoipa::PartialSchema>::schema()),
        (wire::StreamEnd::name().into_owned(), <wire::StreamEnd as utoipa::PartialSchema>::schema()),
    ];
    ErrorBody::schemas(&mut schemas);
    wire::Progress::schemas(&mut schemas);
    wire::StreamEnd::schemas(&mut schemas);
    schemas
}

fn method(operation: Operation) -> HttpMethod {
    match operation.method() {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
    }
}

fn describe(operation: Operation, contents: Contents) -> OperationBuilder {
    let arguments = operation.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let arguments = arguments.map(|name| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text))
            .build()
    });
    let parameters: Vec<Parameter> = arguments.chain(contents.query).collect();
    let body = contents.body.map(|schema| {
        let json = ContentBuilder::new().schema(Some(schema)).build();
        RequestBodyBuilder::new().content("application/json", json).required(Some(Required::True)).build()
    });
    let error = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
    OperationBuilder::new()
        .operation_id(Some(operation.name()))
        .summary(Some(operation.sentence()))
        .description(Some(format!("Needs the role {}.", operation.role())))
        .parameters(Some(parameters))
        .request_body(body)
        .response("200", answer(operation.answer(), contents.answer))
        .response("default", ResponseBuilder::new().description("An error.").content("application/json", error))
}

fn answer(shape: Answer, row: RefOr<Schema>) -> ResponseBuilder {
    let json = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new();
    match shape {
        Answer::One => response.description("The answer.").content("application/json", json(row)),
        Answer::List => response
            .description("A page, or a stream of lines.")
            .content("application/json", json(page(row.clone())))
            .content(NDJSON, json(line(row))),
        Answer::Stream => response.description("A stream of lines.").content(NDJSON, json(line(row))),
        Answer::File => {
            let bytes = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            response
                .description("The content of a file.")
                .content("application/octet-stream", ContentBuilder::new().schema(Some(bytes)).build())
        }
    }
}

fn page(row: RefOr<Schema>) -> RefOr<Schema> {
    let next = ObjectBuilder::new().schema_type(Type::Integer);
    let rows = ArrayBuilder::new().items(row);
    Schema::from(ObjectBuilder::new().property("rows", rows).required("rows").property("next", next)).into()
}

fn line(row: RefOr<Schema>) -> RefOr<Schema> {
    let named = |name: std::borrow::Cow<'static, str>| Ref::from_schema_name(name);
    Schema::from(
        ObjectBuilder::new()
            .property("row", row)
            .property("progress", named(wire::Progress::name()))
            .property("error", named(ErrorBody::name()))
            .property("end", named(wire::StreamEnd::name()))
            .max_properties(Some(1))
            .min_properties(Some(1)),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(target) if name == "$ref" => {
                            found.insert(target.to_owned());
                        }
                        _ => references(value, found),
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_operation_is_described_under_its_path() {
        let document = serde_json::to_value(document()).unwrap();
        for &operation in Operation::ALL {
            let method = match operation.method() {
                Method::Get => "get",
                Method::Post => "post",
            };
            let described = &document["paths"][operation.path()][method];
            assert_eq!(described["operationId"], operation.name(), "{operation:?}");
            assert_eq!(described["summary"], operation.sentence(), "{operation:?}");
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = serde_json::to_value(document()).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target} leads nowhere");
        }
    }
}
