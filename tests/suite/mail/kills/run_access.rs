//! The access that a run takes for itself: a run that exports and purges, with a kill at every step of the run and of its
//! access. Whenever all is over nobody has access who had none before.

use std::io;
use std::path::Path;

use retention_core::event::grant::GrantStep;
use retention_core::evidence::certificate::Certificate;
use retention_core::view::{StepStanding, Views};
use retention_tests::servers::raw::quoted;
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::victim::Socket;
use retentiond::store::Store;

use super::message::{Messages, PARTS};
use super::{Deed, Hunt, Rights, Standing, assert_stands, can_open};

/// Where the helper may read without any run.
const STANDS: [&str; 1] = ["Standing"];

/// A run of messages that has access to their mailbox while it works.
struct Working {
    server: &'static Server,
    messages: Messages,
    helper: Account,
    /// Who may do what without any run.
    before: Rights,
}

impl Working {
    fn new(server: &'static Server) -> (Hunt, Self) {
        let helper = server.mailbox();
        let access =
            format!("[access]\nright = \"full_access\"\nprincipal = \"{}\"\nmax_duration = \"PT1H\"\n", helper.name);
        let (hunt, messages) = Messages::with(server, &access, &[&helper]);
        let mut raw = server.login(&messages.account);
        let standing = quoted(&server.folder(&STANDS));
        raw.ok(&format!("CREATE {standing}"));
        raw.ok(&format!("SETACL {standing} {} lr", helper.name));
        drop(raw);
        let before = server.rights(&messages.account);
        (hunt, Self { server, messages, helper, before })
    }

    /// Looks at the newest run, whose work is done: whether all access is given back, and whether the certificate of one of
    /// its items says so.
    fn is_given_back(&self, socket: &Socket) -> io::Result<Standing> {
        let newest = socket.get("/v1/runs?limit=1")?;
        let run = newest["rows"][0]["run"].as_str().expect("a run").to_owned();
        let run = socket.get(&format!("/v1/runs/{run}"))?;
        let taken = run["access"].as_array().expect("the access that it took");
        if taken.iter().any(|grant| grant["ended_at"].is_null()) {
            return Ok(Standing::UnderWay);
        }
        assert!(taken.iter().all(|grant| grant["state"] == "revoked"), "{run}");
        let items = socket.get(&format!("/v1/plans/{}/items?limit=1", run["plan"].as_str().expect("a plan")))?;
        let item = items["rows"][0]["entity"].as_str().expect("an item");
        // It is refused until a checkpoint covers the end.
        let answer = socket.get(&format!("/v1/certificates/entities/{item}"))?;
        let certificate = Certificate::unverified(answer["certificate"].as_str().expect("a text")).unwrap();
        let access = &certificate.statement.run().expect("it is of an entity").access;
        let named: Vec<String> = access.keys().map(ToString::to_string).collect();
        let expected: Vec<&str> = taken.iter().map(|grant| grant["grant"].as_str().expect("a name")).collect();
        assert_eq!(named, expected, "{run}");
        let is_told = access.values().all(|one| one.given_at.is_some() && one.gone_at.is_some() && one.end.is_some());
        assert!(is_told, "{access:?}");
        Ok(Standing::Over)
    }
}

impl Deed for Working {
    fn prepare(&mut self, hunt: &mut Hunt, round: u64) {
        self.messages.prepare(hunt, round);
    }

    fn go_on(&mut self, socket: &Socket) -> io::Result<Standing> {
        match self.messages.go_on(socket)? {
            Standing::Over => self.is_given_back(socket),
            standing @ (Standing::UnderWay | Standing::Resting) => Ok(standing),
        }
    }

    fn commands(&self) -> &'static [(&'static str, u64)] {
        &[("GETACL", 16), ("SETACL", 4), ("BODY.PEEK[]", 1), ("UID EXPUNGE", 1), ("DELETEACL", 3)]
    }

    fn rests(&self) -> bool {
        false
    }

    fn steps(&self) -> &'static [&'static str] {
        &["give", "export", "expunge", "revoke"]
    }

    fn under_way(&self, views: &Views) -> Vec<String> {
        let steps = [GrantStep::Read, GrantStep::Give, GrantStep::Revoke, GrantStep::VerifyRevoked];
        let of_grants = views.small.grants.open().flat_map(|(_, grant)| {
            let begun =
                steps.into_iter().filter(|step| matches!(grant.step(*step), Some(StepStanding::Started { .. })));
            begun.map(|step| step.name().to_owned()).collect::<Vec<_>>()
        });
        self.messages.under_way(views).into_iter().chain(of_grants).collect()
    }

    fn look(&mut self, store: &Store, exports: &Path, what: &str) {
        self.messages.look(store, exports, what);
        assert_stands(self.server, &self.messages.account, &self.before, what);
    }

    fn check(&mut self, what: &str) {
        self.messages.check(what);
        let owner = &self.messages.account;
        assert_eq!(self.server.rights(owner), self.before, "{what}");
        for path in [&[][..], &PARTS[..1], &PARTS] {
            assert!(!can_open(self.server, &self.helper, owner, path), "{what}: {path:?} is still open");
        }
        assert!(can_open(self.server, &self.helper, owner, &STANDS), "{what}: what stood is gone");
    }
}

fn hunt(kind: Kind) {
    let (hunt, mut working) = Working::new(Server::shared(kind));
    hunt.hunt(&format!("the access of a run on {kind}"), &mut working);
}

#[test]
fn a_run_on_dovecot_gives_its_access_back_wherever_the_daemon_is_killed() {
    hunt(Kind::Dovecot);
}

#[test]
fn a_run_on_cyrus_gives_its_access_back_wherever_the_daemon_is_killed() {
    hunt(Kind::Cyrus);
}

#[test]
fn a_run_on_courier_gives_its_access_back_wherever_the_daemon_is_killed() {
    hunt(Kind::Courier);
}
