//! A small client: one request, one connection, one deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::view::ApiError;

/// Talks to an agent (or route reflector) over its unix socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// What went wrong between us and the agent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or it went away before it had answered.
    #[error("no agent on {}: {why}", socket.display())]
    Absent {
        /// Where we looked.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It did not answer in time.
    #[error("the agent on {} did not answer {request} within {seconds} s", socket.display())]
    Late {
        /// Where.
        socket: PathBuf,
        /// Method and path.
        request: String,
        /// How long we waited.
        seconds: u64,
    },
    /// It refuses for good (4xx).
    #[error("{0}")]
    Refused(String),
    /// It cannot now (5xx).
    #[error("{0}")]
    TryLater(String),
    /// Its answer makes no sense to us.
    #[error("the agent on {} answered {request} with something else: {why}", socket.display())]
    Nonsense {
        /// Where.
        socket: PathBuf,
        /// Method and path.
        request: String,
        /// What.
        why: String,
    },
}

impl Client {
    /// A client for this socket that waits `patience` for each answer.
    pub fn new(socket: impl AsRef<Path>, patience: Duration) -> Client {
        Client {
            socket: socket.as_ref().to_path_buf(),
            patience,
        }
    }

    /// `GET path`.
    pub async fn get<Reply: DeserializeOwned>(&self, path: &str) -> Result<Reply, ClientError> {
        let octets = self.ask(Method::GET, path, Bytes::new()).await?;
        self.decode(path, &octets)
    }

    /// `GET path` of what is no JSON: the text.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let octets = self.ask(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    /// `POST path` with a JSON body.
    pub async fn post<Reply: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.nonsense(path, &error))?;
        let octets = self.ask(Method::POST, path, body.into()).await?;
        self.decode(path, &octets)
    }

    fn decode<Reply: DeserializeOwned>(
        &self,
        path: &str,
        octets: &[u8],
    ) -> Result<Reply, ClientError> {
        serde_json::from_slice(octets).map_err(|error| self.nonsense(path, &error))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let request = format!("{method} {path}");
        match tokio::time::timeout(self.patience, self.exchange(method, path, body)).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::Late {
                socket: self.socket.clone(),
                request,
                seconds: self.patience.as_secs(),
            }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.absent(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.absent(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "caracal")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.nonsense(path, &error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.absent(&error))?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.absent(&error))?
            .to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        let words = match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(ApiError { error }) => error,
            Err(_) => format!("{path}: {status}"),
        };
        Err(if status.is_client_error() {
            ClientError::Refused(words)
        } else {
            ClientError::TryLater(words)
        })
    }

    /// Also for an agent that is killed in the middle: it is away, it does not talk nonsense.
    fn absent(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Absent {
            socket: self.socket.clone(),
            why: plain(&why.to_string()),
        }
    }

    fn nonsense(&self, request: &str, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Nonsense {
            socket: self.socket.clone(),
            request: request.to_owned(),
            why: why.to_string(),
        }
    }
}

/// The system's words without the number that Rust appends.
fn plain(why: &str) -> String {
    match why.rsplit_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => why.to_owned(),
    }
}
