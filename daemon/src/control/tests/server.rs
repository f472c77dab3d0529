//! The accept loop: who has a place, and for how long.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::super::{CONNECTIONS_MAX, ControlSocket, RolesOf, serve};
use super::*;

/// Long for a machine that is busy, and less than a connection may idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks on a connection that it would keep, and reads until the other end closes it.
async fn answered(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    reading.await.expect("the connection is closed").unwrap();
    answer
}

#[tokio::test]
async fn a_connection_ends_with_its_answer_so_that_no_role_outlives_being_taken_away() {
    let world = World::with_contacts(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let socket = ControlSocket::bind(&path, None).unwrap();
    let listener = UnixListener::from_std(socket.listener().unwrap()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let roles: RolesOf = Arc::new(|_| vec![Role::Auditor]);
    let serving = tokio::spawn(serve(listener, router(world.control.clone()), roles, stopped));
    let answer = answered(&path).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn users_without_a_role_leave_places_for_the_others() {
    let world = World::with_contacts(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let socket = ControlSocket::bind(&path, None).unwrap();
    let listener = UnixListener::from_std(socket.listener().unwrap()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let (accepted, mut accepting) = mpsc::unbounded_channel();
    let has_role = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_role);
    let roles: RolesOf = Arc::new(move |_| {
        let roles = if asked.load(Ordering::SeqCst) { vec![Role::Auditor] } else { Vec::new() };
        let _ = accepted.send(());
        roles
    });
    let serving = tokio::spawn(serve(listener, router(world.control.clone()), roles, stopped));
    // They say nothing, and stay.
    let mut silent = Vec::new();
    for _ in 0..=CONNECTIONS_MAX {
        silent.push(UnixStream::connect(&path).await.unwrap());
        tokio::time::timeout(PATIENCE, accepting.recv()).await.expect("there is a place").unwrap();
    }
    has_role.store(true, Ordering::SeqCst);
    let answer = answered(&path).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(silent);
    stop.send(true).unwrap();
    serving.await.unwrap();
}
