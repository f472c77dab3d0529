//! The stages over mailboxes of a real server: looked at, planned, exported, verified, expunged, looked for again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::event::change::{EntityChanged, LayoutRecorded, MailboxScanRequested};
use retention_core::event::decision::{PlanApproved, PlanPurpose, PlanRequested, RunRequested};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::{EntityId, LayoutId, PlanId, Position};
use retention_core::mailbox::LoginForm;
use retention_core::record::{Column, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::view::{Condition, RunState};
use retentiond::clock::WallClock;
use retentiond::config::{MailServer, MailTls};
use retentiond::connector::imap::{Connector, ImapMailroom, MailboxAccess, MailboxDirectory, Secret};
use retentiond::connector::mail::{Mailroom, Registered};
use retentiond::connector::outcome::{Refusal, Retry};
use retentiond::stage::Step;
use retentiond::stage::intake::mail::MailIntake;
use retentiond::stage::run::SAGAS_AT_ONCE;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::figure::{Memory, Stopwatch};
use crate::ours::{DUE_AT, Ours, Place};
use crate::part::newest_step;

/// The policy under which old letters are purged: file name and text.
const POLICY: (&str, &str) = ("old-mail.toml", include_str!("policy/old-mail.toml"));

/// Where mailboxes are, and how one gets into them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mailboxes {
    /// The port of IMAP over TLS, on loopback.
    pub(crate) port: u16,
    /// The authority of the server.
    pub(crate) ca_file: PathBuf,
    /// How many connections the server may have at once.
    pub(crate) connections: usize,
    /// Login names with their passwords.
    pub(crate) accounts: Vec<(String, String)>,
}

/// What a purge of mailboxes took, in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MailPurged {
    /// Until every message was recorded.
    pub(crate) scan: f64,
    /// Until the plan was frozen.
    pub(crate) plan: f64,
    /// From the request of the run to its end.
    pub(crate) run: f64,
    /// Of this, by what the stage did.
    pub(crate) steps: BTreeMap<String, f64>,
    /// Messages that were recorded.
    pub(crate) messages: u64,
    /// Messages that were purged.
    pub(crate) purged: u64,
    /// Memory afterwards.
    pub(crate) memory: Memory,
}

struct Directory {
    server: Arc<MailServer>,
    registered: BTreeMap<EntityId, (String, String)>,
}

impl MailboxDirectory for Directory {
    fn registered(&self) -> Vec<Registered> {
        let registered = self.registered.iter().map(|(entity, (name, _))| Registered {
            entity: *entity,
            address: Arc::from(name.as_str()),
            source: Arc::from(self.server.name.as_str()),
        });
        registered.collect()
    }

    fn access(&self, mailbox: EntityId) -> Result<MailboxAccess, Refusal> {
        let account = self.registered.get(&mailbox);
        let (user, password) = account.ok_or(Refusal { code: "not-registered", retry: Retry::Operator })?;
        Ok(MailboxAccess {
            server: Arc::clone(&self.server),
            user: user.clone(),
            form: LoginForm::OwnPassword,
            admin: String::new(),
            secret: Secret::from(password.clone()),
            root: None,
        })
    }

    fn server_of(&self, mailbox: EntityId) -> Option<Arc<MailServer>> {
        self.registered.contains_key(&mailbox).then(|| Arc::clone(&self.server))
    }

    fn access_as(&self, _mailbox: EntityId, _identifier: &str) -> Option<MailboxAccess> {
        None
    }
}

/// Makes an installation, looks at the mailboxes, and purges what is due in them.
pub(crate) fn purge(place: &Place, mailboxes: &Mailboxes) -> Outcome<MailPurged> {
    place.make()?;
    std::fs::write(place.0.join("policies").join(POLICY.0), POLICY.1)?;
    let ours = Ours::open(place, DUE_AT)?;
    let mailroom = mailroom(&ours, mailboxes)?;
    let watch = Stopwatch::start();
    let mut intake = MailIntake::new(Arc::clone(&ours.store), Arc::new(ours.clock.clone()), Arc::clone(&mailroom));
    for mailbox in mailroom.registered() {
        let asked = Event::MailboxScanRequested(MailboxScanRequested {});
        append(&ours, Some(mailbox.entity), Actor::Person(1_000), asked)?;
    }
    while intake.step()? == Step::Worked {}
    ours.judge()?;
    let scan = watch.seconds();

    let watch = Stopwatch::start();
    let policy = "old-mail".to_owned();
    let asked = Event::PlanRequested(PlanRequested { policy, purpose: PlanPurpose::Run, as_of: None });
    let plan = PlanId(append(&ours, None, Actor::Person(1_000), asked)?);
    let mut planner = ours.plan();
    loop {
        let looked = intake.step()? == Step::Worked;
        if planner.step()? != Step::Worked && !looked {
            break;
        }
    }
    let digest = ours.store.view(|views| views.small.plans.get(plan).and_then(|plan| plan.digest()));
    let digest = digest.ok_or("the plan was not frozen")?;
    let seconds_of_plan = watch.seconds();
    let approval = Event::PlanApproved(PlanApproved { plan, digest, comment: String::new() });
    append(&ours, None, Actor::Person(1_001), approval)?;

    let watch = Stopwatch::start();
    append(&ours, None, Actor::Person(1_000), Event::RunRequested(RunRequested { plan, digest }))?;
    // Of one mailbox the time of each step is told.
    let at_once = if mailboxes.accounts.len() > 1 { SAGAS_AT_ONCE } else { 1 };
    let mut run = ours.run().with_mailroom(mailroom).with_sagas_at_once(at_once);
    let mut steps: BTreeMap<String, f64> = BTreeMap::new();
    loop {
        let watch = Stopwatch::start();
        match run.step()? {
            Step::Worked => *steps.entry(newest_step(&ours.store)?).or_default() += watch.seconds(),
            _ if intake.step()? == Step::Worked => {}
            _ => break,
        }
    }
    let seconds_of_run = watch.seconds();
    drop((run, planner, intake));
    let (purged, state) = ours.store.view(|views| {
        let run = views.small.runs.iter().next_back().map(|(_, run)| (run.purged, run.state));
        run.unwrap_or((0, RunState::Requested))
    });
    let messages = ours.store.view(|views| views.entities.bound()).into();
    if state != RunState::Completed {
        return Err(format!("the run is {state:?} after {purged} messages").into());
    }
    ours.close()?;
    let memory = Memory::of_this_process()?;
    Ok(MailPurged { scan, plan: seconds_of_plan, run: seconds_of_run, steps, messages, purged, memory })
}

fn append(ours: &Ours, entity: Option<EntityId>, actor: Actor, event: Event) -> Outcome<Position> {
    let stream = entity.map_or_else(stream_of_daemon, |entity| ours.store.stream_of(entity));
    let draft = Draft { stream, entity, actor, cause: Position::NONE, occurred_at: None, event };
    Ok(ours.store.append_drafts(vec![draft], Condition::None)?.last)
}

/// Registers the mailboxes, and returns what reaches them.
fn mailroom(ours: &Ours, mailboxes: &Mailboxes) -> Outcome<Arc<dyn Mailroom>> {
    let column = Column { name: "address".into(), field: "address".into(), field_type: FieldType::Text };
    let layout = Layout { source: "dovecot".into(), kind: Kind::Mailbox, columns: vec![column], named_dates: vec![] };
    let id: LayoutId = ours.store.view(|views| views.small.layouts.next());
    append(ours, None, Actor::Daemon, Event::LayoutRecorded(LayoutRecorded { id, layout }))?;
    let mut registered = BTreeMap::new();
    for account in &mailboxes.accounts {
        let (entity, key) = ours.store.issue(1)?.pop().ok_or("no key")?;
        let record = EntityRecord {
            layout: id,
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: account.0.clone(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: std::iter::once(Some(account.0.as_str())).collect(),
        };
        let draft = Draft {
            stream: ours.store.stream_of(entity),
            entity: Some(entity),
            actor: Actor::Daemon,
            cause: Position::NONE,
            occurred_at: None,
            event: Event::EntityChanged(EntityChanged { record }),
        };
        let prepared = ours.store.prepare(draft, Some(&key))?;
        ours.store.append(vec![prepared], Condition::None)?;
        registered.insert(entity, account.clone());
    }
    let server = MailServer {
        name: "dovecot".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: mailboxes.port,
        tls: MailTls::Implicit,
        ca_file: Some(mailboxes.ca_file.clone()),
        tls_name: "localhost".to_owned(),
        max_connections: mailboxes.connections,
        form: LoginForm::OwnPassword,
        admin: None,
        doveadm: None,
        batches: None,
    };
    let directory = Arc::new(Directory { server: Arc::new(server), registered });
    let connector = Arc::new(Connector::new(Arc::new(WallClock), Arc::new(|| 0x5eed)));
    let keys = Arc::new(|_: &_| Err(Refusal { code: "mail-credential", retry: Retry::Operator }));
    Ok(Arc::new(ImapMailroom::new(connector, directory, keys)))
}

/// Reads where the mailboxes are from a file that the bench wrote.
pub(crate) fn read(path: &Path) -> Outcome<Mailboxes> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
