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
/// How long a connection to one member may take, its TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a connection is probed while an answer or a watch is awaited. Without one etcd takes no probes: it ends the
/// connection after three of them (GOAWAY too_many_pings), as it ends those that probe more than each 5 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the probe's answer may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message. etcd's largest value is 1.5 MiB unless its operator allows more.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A client with the names of its endpoints.
pub(super) struct Link {
    what: String,
    config: EtcdConfig,
    user: Option<(String, String)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The members, with certificates as they were read last.
    endpoints: Vec<Endpoint>,
    /// The member that is talked to.
    channel: Option<Channel>,
    /// Which is tried first when there is none.
    next: usize,
    /// Proves who we are.
    token: Option<AsciiMetadataValue>,
    /// etcd's authentication is not enabled: without a token one may do everything.
    open: bool,
}

impl Link {
    /// Reads the settings; nothing is connected yet.
    pub(super) fn new(config: &EtcdConfig) -> Result<Link, StoreError> {
        let endpoints = members(config)?;
        // So that the nodes of a cluster spread over the members.
        let first = RandomState::new().hash_one(&config.endpoints);
        let state = State {
            endpoints,
            next: usize::try_from(first % 1024).unwrap_or(0),
            ..State::default()
        };
        Ok(Link {
            what: format!("etcd {}", config.endpoints.join(",")),
            config: config.clone(),
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

    /// The same of a method with streams: one question, and the first answer to it.
    pub(super) async fn ask_stream<Q, A>(
        &self,
        method: &'static str,
        question: Q,
    ) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.in_time(async {
            self.log_in().await?;
            match self.try_ask_stream(method, question.clone()).await {
                Err(status) if self.is_token_refused(&status) => {
                    self.authenticate().await?;
                    self.try_ask_stream(method, question).await
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

    async fn try_ask_stream<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc().await?;
        // Open until the answer is there: etcd takes the end of the questions for the end of the stream.
        let request = self.request(stream::iter([question]).chain(stream::pending()));
        let path = PathAndQuery::from_static(method);
        let answer = grpc.streaming(request, path, ProstCodec::default()).await?;
        let first = answer.into_inner().message().await?;
        first.ok_or_else(|| Status::unavailable("the stream ended without an answer"))
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
            state.open = false;
        }
    }

    /// Gets a token, once.
    async fn log_in(&self) -> Result<(), Status> {
        {
            let state = self.state();
            if self.user.is_none() || state.token.is_some() || state.open {
                return Ok(());
            }
        }
        self.authenticate().await
    }

    fn is_token_refused(&self, status: &Status) -> bool {
        // Unknown, older than a change of users or roles, and missing because authentication was enabled only now.
        const WORDS: [&str; 3] = [
            "invalid auth token",
            "revision of auth store is old",
            "user name is empty",
        ];
        let refused = |words: &&str| status.message().contains(*words);
        self.user.is_some() && (status.code() == Code::Unauthenticated || WORDS.iter().any(refused))
    }

    async fn authenticate(&self) -> Result<(), Status> {
        let Some((name, password)) = self.user.clone() else {
            return Ok(());
        };
        let mut grpc = self.grpc().await?;
        let question = Request::new(AuthenticateRequest { name, password });
        let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
        let answer = match grpc.unary(question, path, ProstCodec::default()).await {
            Err(status) if status.message().contains("authentication is not enabled") => {
                let mut state = self.state();
                state.token = None;
                state.open = true;
                return Ok(());
            }
            answer => answer.map_err(|status| {
                Status::new(status.code(), format!("login: {}", status.message()))
            })?,
        };
        let answer: AuthenticateResponse = answer.into_inner();
        let token = answer
            .token
            .parse()
            .map_err(|_| Status::internal("login: etcd's token is not ASCII"))?;
        let mut state = self.state();
        state.token = Some(token);
        state.open = false;
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
        let endpoints = self.endpoints();
        let mut faults = Vec::new();
        for offset in 0..endpoints.len() {
            let index = first.wrapping_add(offset) % endpoints.len();
            let endpoint = &endpoints[index];
            // When this one fails it is another's turn, also when the request's time is over before that.
            self.state().next = index + 1;
            // The endpoint's own limit ends with TCP's handshake.
            let why = match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
                Ok(Ok(channel)) => {
                    self.state().channel = Some(channel.clone());
                    return Ok(channel);
                }
                Ok(Err(error)) => chain(&error),
                Err(_) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
            };
            faults.push(match endpoints.len() {
                1 => why,
                _ => format!("{}: {why}", endpoint.uri()),
            });
        }
        Err(Status::unavailable(faults.join("; ")))
    }

    /// The members, with certificates as they are now: who renews them changes files, and need not start us again. Files that cannot be read (half
    /// written, gone) leave what was read before.
    fn endpoints(&self) -> Vec<Endpoint> {
        if self.config.is_secure() {
            match members(&self.config) {
                Ok(endpoints) => self.state().endpoints = endpoints,
                Err(error) => {
                    tracing::warn!("{}: certificates are not read again: {error}", self.what);
                }
            }
        }
        self.state().endpoints.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The members as they are connected to. Certificates are read from their files.
fn members(config: &EtcdConfig) -> Result<Vec<Endpoint>, StoreError> {
    let endpoints = config.endpoints()?.into_iter().map(|endpoint| {
        endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(false)
            .tcp_nodelay(true)
    });
    Ok(endpoints.collect())
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

#[cfg(test)]
mod tests {
    //! A member that takes connections and says nothing; the rest is tested with a server.

    use tokio::net::TcpListener;

    use super::*;
    use crate::etcd::Password;

    async fn silent(members: usize) -> (Link, Vec<TcpListener>) {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, params.self_signed(&key).unwrap().pem()).unwrap();
        let mut config = EtcdConfig {
            ca_file: Some(authority),
            username: Some("me".to_owned()),
            password: Some(Password("hush".to_owned())),
            ..EtcdConfig::default()
        };
        // The kernel takes their connections; nobody reads.
        let mut listeners = Vec::new();
        for _ in 0..members {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            config.endpoints.push(format!("https://127.0.0.1:{port}"));
            listeners.push(listener);
        }
        (Link::new(&config).unwrap(), listeners)
    }

    #[tokio::test]
    async fn a_member_that_does_not_answer_the_handshake_is_left_in_time() {
        let (link, _members) = silent(1).await;
        let fault = tokio::time::timeout(TIMEOUT / 2, link.channel()).await;
        let fault = fault.expect("an end").unwrap_err();
        assert!(
            fault.message().contains("no connection within 3 s"),
            "{fault}"
        );
    }

    #[tokio::test]
    async fn a_request_that_ends_while_it_connects_leaves_the_next_member_to_the_next() {
        let (link, _members) = silent(2).await;
        link.state().next = 0;
        for turn in [1, 2, 1] {
            let waited = tokio::time::timeout(Duration::from_millis(100), link.channel()).await;
            assert!(waited.is_err());
            assert_eq!(link.state().next, turn);
        }
    }

    #[tokio::test]
    async fn a_token_is_renewed_when_it_is_old_unknown_or_missing() {
        let (link, _members) = silent(1).await;
        for (code, words, renewed) in [
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                true,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                true,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                true,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                false,
            ),
        ] {
            let found = link.is_token_refused(&Status::new(code, words));
            assert_eq!(found, renewed, "{words}");
        }
    }
}
