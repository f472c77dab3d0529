//! The accept loop: who has a place, and for how long.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::super::{CONNECTIONS_MAX, ControlSocket, RolesOf, serve};
use super::*;

/// Long for a machine that is busy, and less than a connection may idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// A control socket on which a world is served.
struct Served {
    path: PathBuf,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    // What has to be there as long as it is served.
    _world: World,
    _dir: tempfile::TempDir,
    _socket: ControlSocket,
}

impl Served {
    fn to(roles: RolesOf) -> Self {
        let world = World::with_contacts(1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let socket = ControlSocket::bind(&path, None).unwrap();
        let listener = UnixListener::from_std(socket.listener().unwrap()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, router(world.control.clone()), roles, stopped));
        Self { path, stop, serving, _world: world, _dir: dir, _socket: socket }
    }

    /// Asks on a connection that it would keep, and reads until the other end closes it.
    async fn answers(&self) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let reading = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
        reading.await.expect("the connection is closed").unwrap();
        answer
    }

    async fn ends(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_answer_so_that_no_role_outlives_being_taken_away() {
    let served = Served::to(Arc::new(|_| vec![Role::Auditor]));
    let answer = served.answers().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    served.ends().await;
}

#[tokio::test]
async fn users_without_a_role_leave_places_for_the_others() {
    let (accepted, mut accepting) = mpsc::unbounded_channel();
    let has_role = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_role);
    let served = Served::to(Arc::new(move |_| {
        let roles = if asked.load(Ordering::SeqCst) { vec![Role::Auditor] } else { Vec::new() };
        let _ = accepted.send(());
        roles
    }));
    // They say nothing, and stay.
    let mut silent = Vec::new();
    for _ in 0..=CONNECTIONS_MAX {
        silent.push(UnixStream::connect(&served.path).await.unwrap());
        tokio::time::timeout(PATIENCE, accepting.recv()).await.expect("there is a place").unwrap();
    }
    has_role.store(true, Ordering::SeqCst);
    let answer = served.answers().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(silent);
    served.ends().await;
}

#[tokio::test]
async fn whoever_finds_no_place_is_told_so() {
    let served = Served::to(Arc::new(|_| Vec::new()));
    let (told, mut hearing) = mpsc::unbounded_channel();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = UnixStream::connect(&served.path).await.unwrap();
        let told = told.clone();
        waiting.spawn(async move {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let _ = told.send(answer);
        });
    }
    let answer = tokio::time::timeout(PATIENCE, hearing.recv()).await.expect("somebody finds no place").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("\"busy\""), "{answer}");
    waiting.shutdown().await;
    served.ends().await;
}
