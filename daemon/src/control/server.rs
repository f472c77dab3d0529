//! The accept loop, with its limits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use retention_core::control::{ErrorBody, ErrorCode, Role};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::peer::Peer;

/// Connections served at once, but for those that each user has. A person has one; a page in a browser a handful.
pub const CONNECTIONS_MAX: usize = 64;

/// Of these, how many at most one user has. All without a role count as one user: whoever may open the socket and nothing
/// else must not keep the others from stopping a run.
const CONNECTIONS_OF_ONE_MAX: usize = 24;

/// How many each user with a role has whatever the others keep: some users together must not keep another one from
/// stopping a run either.
const CONNECTIONS_OF_EACH: usize = 2;

/// Connections of which is not known yet who calls: soon they have a place or are closed.
const UNKNOWN_MAX: usize = 16;

/// Of all that are served, how many at most follow the log: they have no end, and whoever has to stop a run must find a
/// place.
pub const FOLLOWERS_MAX: usize = 16;

/// The largest head of a request, in bytes: paths and queries are short.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most headers of a request.
const HEADERS_MAX: usize = 32;

/// How long a head may take to arrive, and a connection may idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How long to wait before accepting again after the system refused, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long answers that are under way may take to end when the daemon stops. Lists and watches are cut after that;
/// their readers see that the last line is missing.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Who calls: known for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The other end.
    pub peer: Peer,
    /// What they may do.
    pub roles: Vec<Role>,
}

/// Says what a peer may do. Asked once for each connection.
pub type RolesOf = Arc<dyn Fn(Peer) -> Vec<Role> + Send + Sync>;

/// How many connections each user has; `None` are all who have no role.
type Places = Arc<Mutex<BTreeMap<Option<u32>, usize>>>;

/// One connection among those of its user, until it is dropped.
struct Place {
    places: Places,
    of: Option<u32>,
}

impl Place {
    fn take(places: &Places, caller: &Caller) -> Option<Self> {
        let of = Some(caller.peer.uid).filter(|_| !caller.roles.is_empty());
        let mut taken = places.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&of).copied().unwrap_or_default();
        let is_of_each = of.is_some() && own < CONNECTIONS_OF_EACH;
        if own >= CONNECTIONS_OF_ONE_MAX || (all >= CONNECTIONS_MAX && !is_of_each) {
            return None;
        }
        taken.insert(of, own + 1);
        Some(Self { places: Arc::clone(places), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.lock().entry(self.of) {
            match count.get().checked_sub(1) {
                None | Some(0) => {
                    count.remove();
                }
                Some(fewer) => *count.get_mut() = fewer,
            }
        }
    }
}

/// Serves until `stop` turns true, then lets what is under way end for a moment.
pub async fn serve(listener: UnixListener, router: Router, roles_of: RolesOf, mut stop: watch::Receiver<bool>) {
    let unknown = Arc::new(Semaphore::new(UNKNOWN_MAX));
    let places = Places::default();
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = stopped(&mut stop) => break,
            permit = Arc::clone(&unknown).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, Ok(permit)) = (
            match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            permit,
        ) else {
            break;
        };
        let (router, roles_of, stop) = (router.clone(), Arc::clone(&roles_of), stop.clone());
        let places = Arc::clone(&places);
        connections.spawn(async move {
            connection(stream, permit, router, roles_of, places, stop).await;
        });
    }
    let drained =
        tokio::time::timeout(DRAIN_TIME_MAX, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::info!(connections = connections.len(), "control connections were cut");
        connections.shutdown().await;
    }
}

/// Returns when the daemon stops; the end of its supervisor counts as that.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells whoever finds no place that there is none. Nothing of what they ask is read, and nothing waits for them: who does not
/// take it at once learns it from the end of the connection.
fn turn_away(stream: &UnixStream) {
    let error = ErrorBody::saying(ErrorCode::Busy, "as many connections are served as may be, or as one user may have")
        .hint("ask again when one has ended");
    let Ok(body) = serde_json::to_string(&error) else { return };
    let answer = format!(
        "HTTP/1.1 {} busy\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        error.code.http_status(),
        body.len()
    );
    let _unread = stream.try_write(answer.as_bytes());
}

async fn connection(
    stream: UnixStream,
    unknown: OwnedSemaphorePermit,
    router: Router,
    roles_of: RolesOf,
    places: Places,
    mut stop: watch::Receiver<bool>,
) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = Peer { uid: credentials.uid(), gid: credentials.gid() };
    // The account files are read here: on a blocking thread.
    let Ok(roles) = tokio::task::spawn_blocking(move || roles_of(peer)).await else { return };
    let caller = Caller { peer, roles };
    let Some(_place) = Place::take(&places, &caller) else {
        tracing::warn!(
            uid = peer.uid,
            "a control connection was closed: there are as many as there may be, or as this user may have"
        );
        turn_away(&stream);
        return;
    };
    drop(unknown);
    let service = router.layer(axum::Extension(caller)).into_service::<Incoming>();
    // One request for each connection: the roles are those of its beginning, and must not outlive being taken away.
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, uid = peer.uid, "a control connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, roles: &[Role]) -> Caller {
        Caller { peer: Peer { uid, gid: 100 }, roles: roles.to_vec() }
    }

    fn take_all(places: &Places, caller: &Caller) -> Vec<Place> {
        std::iter::from_fn(|| Place::take(places, caller)).collect()
    }

    #[test]
    fn users_who_keep_all_places_together_leave_some_to_each_other_user_with_a_role() {
        let places = Places::default();
        let mut kept: Vec<Vec<Place>> = (1..=3).map(|uid| take_all(&places, &caller(uid, &[Role::Auditor]))).collect();
        assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [24, 24, 16]);
        assert!(Place::take(&places, &caller(5, &[])).is_none());
        let operator = caller(4, &[Role::Operator]);
        let own = take_all(&places, &operator);
        assert_eq!(own.len(), CONNECTIONS_OF_EACH);
        // What they give back is for all again.
        kept.pop();
        assert!(Place::take(&places, &operator).is_some());
        assert!(Place::take(&places, &caller(5, &[])).is_some());
        drop((kept, own));
        assert!(places.lock().is_empty());
    }

    #[test]
    fn users_without_a_role_count_as_one_and_have_nothing_of_their_own() {
        let places = Places::default();
        let kept: Vec<Place> = (1..=60).flat_map(|uid| Place::take(&places, &caller(uid, &[]))).collect();
        assert_eq!(kept.len(), CONNECTIONS_OF_ONE_MAX);
        assert_eq!(take_all(&places, &caller(70, &[Role::Admin])).len(), CONNECTIONS_OF_ONE_MAX);
    }
}
