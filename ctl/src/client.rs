//! One connection to the socket for each call, with deadlines and limits.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use retention_core::control::{ErrorBody, ErrorCode, Line, Method, NDJSON, Operation, StreamEnd};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Cause;

/// How long the daemon may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take to begin: longer than the daemon gives itself.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

/// The longest answer that is one value, and the longest line of a stream, in bytes: an entity with its whole text.
const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is asked of the daemon.
#[derive(Debug)]
pub(crate) struct Call {
    operation: Operation,
    uri: String,
    body: Option<Value>,
}

impl Call {
    /// Asks for an operation; `arguments` fill its path.
    pub(crate) fn to(operation: Operation, arguments: &[&dyn std::fmt::Display]) -> Self {
        Self { operation, uri: operation.path_with(arguments), body: None }
    }

    /// Adds a query.
    pub(crate) fn asking<Q: serde::Serialize>(mut self, query: &Q) -> Self {
        self.uri.push_str(&retention_core::control::query_string(query));
        self
    }

    /// Adds a body.
    pub(crate) fn with<B: serde::Serialize>(mut self, body: &B) -> Self {
        self.body = serde_json::to_value(body).ok();
        self
    }
}

/// How following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The daemon ended it, and says where.
    Ended(StreamEnd),
    /// The caller was asked to end.
    Interrupted,
}

/// Talks to one daemon.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    socket: PathBuf,
}

impl Client {
    /// Prepares to talk; connects only when something is asked.
    pub(crate) fn at(socket: &Path) -> Result<Self, Cause> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Cause::Start)?;
        Ok(Self { runtime, socket: socket.to_owned() })
    }

    /// Asks for one value.
    pub(crate) fn one(&self, call: &Call) -> Result<Value, Cause> {
        self.runtime.block_on(async {
            let response = self.send(call, "application/json").await?;
            let bytes = collect(response.into_body()).await?;
            serde_json::from_slice(&bytes).map_err(|_| Cause::Unreadable)
        })
    }

    /// Asks for one value of a known type.
    pub(crate) fn typed<T: serde::de::DeserializeOwned>(&self, call: &Call) -> Result<T, Cause> {
        serde_json::from_value(self.one(call)?).map_err(|_| Cause::Unreadable)
    }

    /// Asks for the content of a file, and hands it over as it comes. It is personal data, and the caller writes it where
    /// it belongs; when it breaks off, or the caller is asked to end, what came is not the file.
    pub(crate) fn bytes(&self, call: &Call, mut each: impl FnMut(&[u8]) -> Result<(), Cause>) -> Result<(), Cause> {
        self.runtime.block_on(async {
            let coming = async {
                let mut body = self.send(call, "application/octet-stream").await?.into_body();
                while let Some(frame) = body.frame().await {
                    if let Some(data) = frame.map_err(|_| Cause::Cut)?.data_ref() {
                        each(data)?;
                    }
                }
                Ok::<(), Cause>(())
            };
            tokio::select! {
                asked = asked_to_end() => asked.and(Err(Cause::Cut)),
                came = coming => came,
            }
        })
    }

    /// Asks for a stream, and hands its rows and progress over as they come.
    pub(crate) fn stream(
        &self,
        call: &Call,
        mut each: impl FnMut(Line<Value>) -> Result<(), Cause>,
    ) -> Result<StreamEnd, Cause> {
        self.runtime.block_on(self.read(call, &mut each))
    }

    /// Asks for a stream that goes on, until it ends or the caller is asked to. What was handed over by then was handed
    /// over whole.
    pub(crate) fn follow(
        &self,
        call: &Call,
        mut each: impl FnMut(Line<Value>) -> Result<(), Cause>,
    ) -> Result<Followed, Cause> {
        self.runtime.block_on(async {
            tokio::select! {
                asked = asked_to_end() => asked.map(|()| Followed::Interrupted),
                end = self.read(call, &mut each) => end.map(Followed::Ended),
            }
        })
    }

    async fn read(
        &self,
        call: &Call,
        each: &mut impl FnMut(Line<Value>) -> Result<(), Cause>,
    ) -> Result<StreamEnd, Cause> {
        let mut body = self.send(call, NDJSON).await?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Cause::Cut)?;
            let Some(data) = frame.data_ref() else { continue };
            rest.extend_from_slice(data);
            let mut start = 0;
            while let Some(length) = rest.get(start..).and_then(|bytes| bytes.iter().position(|b| *b == b'\n')) {
                let line = rest.get(start..start + length).unwrap_or_default();
                match serde_json::from_slice(line).map_err(|_| Cause::Unreadable)? {
                    Line::End(end) => return Ok(end),
                    Line::Error(error) => return Err(Cause::Answer(error)),
                    line @ (Line::Row(_) | Line::Progress(_)) => each(line)?,
                }
                start += length + 1;
            }
            rest.drain(..start);
            if rest.len() > VALUE_BYTES_MAX {
                return Err(Cause::Unreadable);
            }
        }
        Err(Cause::Cut)
    }

    async fn send(&self, call: &Call, accept: &str) -> Result<Response<Incoming>, Cause> {
        let unreachable = |source| Cause::Unreachable { socket: self.socket.clone(), source };
        let late = || unreachable(io::ErrorKind::TimedOut.into());
        let connecting = tokio::time::timeout(CONNECT_TIME_MAX, UnixStream::connect(&self.socket));
        let stream = connecting.await.map_err(|_| late())?.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Cause::Cut)?;
        // Ends with the answer; what went wrong shows there.
        tokio::spawn(connection);
        let request = request(call, accept).ok_or(Cause::Unreadable)?;
        let answering = tokio::time::timeout(ANSWER_TIME_MAX, sender.send_request(request));
        let response = answering.await.map_err(|_| late())?.map_err(|_| Cause::Cut)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let bytes = collect(response.into_body()).await?;
        let error = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| ErrorBody::saying(ErrorCode::Unknown, "the daemon refused without a reason"));
        Err(Cause::Answer(error))
    }
}

/// Waits until this program is asked to end: by Ctrl-C, or as a service is.
async fn asked_to_end() -> Result<(), Cause> {
    let mut ended = signal(SignalKind::terminate()).map_err(Cause::Start)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Cause::Start)?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = ended.recv() => {}
    }
    Ok(())
}

fn request(call: &Call, accept: &str) -> Option<Request<Full<Bytes>>> {
    let method = match call.operation.method() {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let body = match &call.body {
        Some(body) => serde_json::to_vec(body).ok()?,
        None => Vec::new(),
    };
    let request = Request::builder().method(method).uri(&call.uri).header(HOST, "retentiond").header(ACCEPT, accept);
    request.header(CONTENT_TYPE, "application/json").body(Full::new(body.into())).ok()
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(|_| Cause::Cut)?.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(Cause::Unreadable);
        }
    }
    Ok(bytes)
}
