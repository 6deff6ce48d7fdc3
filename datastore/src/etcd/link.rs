//! The connection to etcd: one member at a time, the next one when it fails; errors in words.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::config::EtcdConfig;
use super::wire::{
    AuthenticateRequest, AuthenticateResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};
use crate::store::StoreError;

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to one member may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is probed, as Calico does; etcd ends those that probe more than each 5 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the probe's answer may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message. etcd's largest value is 1.5 MiB unless its operator allows more.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A client with the names of its endpoints.
pub(super) struct Link {
    what: String,
    endpoints: Vec<Endpoint>,
    user: Option<(String, String)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The member that is talked to.
    channel: Option<Channel>,
    /// Which is tried first when there is none.
    next: usize,
    /// Proves who we are.
    token: Option<AsciiMetadataValue>,
}

impl Link {
    /// Reads the settings; nothing is connected yet.
    pub(super) fn new(config: &EtcdConfig) -> Result<Link, StoreError> {
        let endpoints = config.endpoints()?;
        let endpoints: Vec<Endpoint> = endpoints
            .into_iter()
            .map(|endpoint| {
                endpoint
                    .connect_timeout(CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                    .keep_alive_while_idle(true)
                    .tcp_nodelay(true)
            })
            .collect();
        // So that the nodes of a cluster spread over the members.
        let first = RandomState::new().hash_one(&config.endpoints);
        let state = State {
            next: usize::try_from(first % 1024).unwrap_or(0),
            ..State::default()
        };
        Ok(Link {
            what: format!("etcd {}", config.endpoints.join(",")),
            endpoints,
            user: config
                .username
                .clone()
                .zip(config.password.clone().map(|password| password.0)),
            state: Mutex::new(state),
        })
    }

    /// The endpoints.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn unavailable(&self, why: String) -> StoreError {
        StoreError::Unavailable {
            what: self.what.clone(),
            why,
        }
    }

    /// A request and its answer. A request is sent to one member only: whether it was carried out is not known
    /// when that member falls silent.
    pub(super) async fn ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.in_time(async {
            self.log_in().await?;
            match self.try_ask(method, question.clone()).await {
                Err(status) if self.is_token_refused(&status) => {
                    self.authenticate().await?;
                    self.try_ask(method, question).await
                }
                answer => answer,
            }
        })
        .await
    }

    /// Watches, all on one stream.
    pub(super) async fn watch(
        &self,
        watches: Vec<WatchCreateRequest>,
    ) -> Result<Streaming<WatchResponse>, Status> {
        self.in_time(async {
            self.log_in().await?;
            match self.try_watch(watches.clone()).await {
                Err(status) if self.is_token_refused(&status) => {
                    self.authenticate().await?;
                    self.try_watch(watches).await
                }
                answer => answer,
            }
        })
        .await
    }

    async fn try_ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc().await?;
        let request = self.request(question);
        let path = PathAndQuery::from_static(method);
        let answer = grpc.unary(request, path, ProstCodec::default()).await?;
        Ok(answer.into_inner())
    }

    async fn try_watch(
        &self,
        watches: Vec<WatchCreateRequest>,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let requests = watches.into_iter().map(|watch| WatchRequest {
            create_request: Some(watch),
        });
        let mut grpc = self.grpc().await?;
        // Our side stays open for as long as the answers are read.
        let request = self.request(stream::iter(requests).chain(stream::pending()));
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let answer = grpc.streaming(request, path, ProstCodec::default()).await?;
        Ok(answer.into_inner())
    }

    /// With a time limit. After a failure of the connection the next request goes to the next member.
    async fn in_time<A>(
        &self,
        asked: impl Future<Output = Result<A, Status>> + Send,
    ) -> Result<A, Status> {
        let answer = match tokio::time::timeout(TIMEOUT, Box::pin(asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer within {} s",
                TIMEOUT.as_secs()
            ))),
        };
        if let Err(status) = &answer {
            self.forget_if_broken(status);
        }
        answer
    }

    /// What the end of a stream says about its connection.
    pub(super) fn forget_if_broken(&self, status: &Status) {
        if matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Unknown
                | Code::Cancelled
                | Code::Internal
        ) {
            let mut state = self.state();
            state.channel = None;
            // A restarted member does not know it any more.
            state.token = None;
        }
    }

    /// Gets a token, once.
    async fn log_in(&self) -> Result<(), Status> {
        if self.user.is_none() || self.state().token.is_some() {
            return Ok(());
        }
        self.authenticate().await
    }

    fn is_token_refused(&self, status: &Status) -> bool {
        self.user.is_some()
            && (status.code() == Code::Unauthenticated
                || status.message().contains("invalid auth token"))
    }

    async fn authenticate(&self) -> Result<(), Status> {
        let Some((name, password)) = self.user.clone() else {
            return Ok(());
        };
        let mut grpc = self.grpc().await?;
        let question = Request::new(AuthenticateRequest { name, password });
        let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
        let answer = grpc
            .unary(question, path, ProstCodec::default())
            .await
            .map_err(|status| Status::new(status.code(), format!("login: {}", status.message())))?;
        let answer: AuthenticateResponse = answer.into_inner();
        let token = answer
            .token
            .parse()
            .map_err(|_| Status::internal("login: etcd's token is not ASCII"))?;
        self.state().token = Some(token);
        Ok(())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        // A member that has lost the others says so and ends its watches, instead of being silent.
        metadata.insert("hasleader", AsciiMetadataValue::from_static("true"));
        if let Some(token) = self.state().token.clone() {
            metadata.insert("token", token);
        }
        request
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let channel = self.channel().await?;
        let mut grpc = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            // What is too large is for etcd to say.
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(chain(&error)))?;
        Ok(grpc)
    }

    /// The connection, or the first that can be had.
    async fn channel(&self) -> Result<Channel, Status> {
        let first = {
            let state = self.state();
            if let Some(channel) = &state.channel {
                return Ok(channel.clone());
            }
            state.next
        };
        let mut faults = Vec::new();
        for offset in 0..self.endpoints.len() {
            let index = first.wrapping_add(offset) % self.endpoints.len();
            let endpoint = &self.endpoints[index];
            match endpoint.connect().await {
                Ok(channel) => {
                    let mut state = self.state();
                    // When this one fails it is another's turn.
                    state.next = index + 1;
                    state.channel = Some(channel.clone());
                    return Ok(channel);
                }
                Err(error) => faults.push(match self.endpoints.len() {
                    1 => chain(&error),
                    _ => format!("{}: {}", endpoint.uri(), chain(&error)),
                }),
            }
        }
        Err(Status::unavailable(faults.join("; ")))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a message was larger than one side takes.
pub(super) fn is_size(status: &Status) -> bool {
    // Of etcd, of Go's gRPC and of ours.
    const WORDS: [&str; 4] = [
        "request is too large",
        "message larger than max",
        "message length too large",
        "message too large",
    ];
    WORDS.iter().any(|words| status.message().contains(words))
}

/// Whether what was asked for is no longer kept.
pub(super) fn is_compaction(status: &Status) -> bool {
    status.message().contains("has been compacted")
}

/// What etcd or the connection says, down to the cause.
pub(super) fn reason(status: &Status) -> String {
    use std::error::Error;
    match status.source() {
        Some(cause) => joined(status.message().to_owned(), Some(cause)),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    joined(error.to_string(), error.source())
}

fn joined(mut text: String, mut cause: Option<&dyn std::error::Error>) -> String {
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text
}
