//! What is asked of an API server: one object, lists in pages, writes, watches; and its refusals in words.

use std::time::Duration;

use futures::{AsyncBufReadExt, Stream, StreamExt};
use hyper::http::{Method, Request, header};
use kube::core::Status;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::config::{Connection, KubernetesConfig, Pulse, chain};
use crate::store::StoreError;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So many objects are asked for at once.
pub(super) const PAGE: usize = 500;
/// How often a list is begun again when its pages are no longer kept.
pub(super) const TRIES: usize = 3;

/// A client of an API server.
#[derive(Clone)]
pub(super) struct Client {
    what: String,
    namespace: String,
    http: kube::Client,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object, or nothing of that kind is served.
    Absent(String),
    /// There is one already.
    Exists,
    /// It is not as the request expects it.
    Conflict(String),
    /// What was asked for is no longer kept.
    Expired,
    /// The API server does not take it.
    Invalid(String),
    /// We have not the right.
    Forbidden(String),
    /// It cannot be reached, or could not do it.
    Unavailable(String),
}

/// A part of a list.
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    /// Where in the history of the collection the whole list is.
    pub(super) resource_version: String,
    /// What the next part is asked for with; `None`: this was the last.
    pub(super) next: Option<String>,
}

/// What is listed and watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    /// The path, as `/apis/crd.projectcalico.org/v1/ippools`.
    pub(super) path: String,
    /// Only some of them.
    pub(super) field_selector: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// News from a watch.
#[derive(Debug)]
pub(super) enum Event {
    /// An object as it is now.
    Set(String),
    /// An object as it was when it was deleted.
    Deleted(String),
    /// All up to here has been told.
    Bookmark(String),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    sort: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Client {
    /// Reads the settings; nothing is connected yet.
    pub(super) async fn new(config: &KubernetesConfig, pulse: Pulse) -> Result<Client, StoreError> {
        let Connection {
            url,
            namespace,
            client,
        } = config.connection(pulse).await?;
        Ok(Client {
            what: format!("kubernetes {}", url.trim_end_matches('/')),
            namespace,
            http: client,
        })
    }

    /// Of an API server that is played.
    #[cfg(test)]
    pub(super) fn played(http: kube::Client) -> Client {
        Client {
            what: "kubernetes (played)".to_owned(),
            namespace: http.default_namespace().to_owned(),
            http,
        }
    }

    /// The API server.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Our own namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn unavailable(&self, why: impl Into<String>) -> StoreError {
        StoreError::Unavailable {
            what: self.what.clone(),
            why: why.into(),
        }
    }

    /// What is at a path; `None`: nothing.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.ask(Method::GET, path, None, None).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Absent(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Makes an object in the collection of that path.
    pub(super) async fn post(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(object), Some(JSON)).await
    }

    /// Replaces an object.
    pub(super) async fn put(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        self.ask(Method::PUT, path, Some(object), Some(JSON)).await
    }

    /// Changes some of an object, as a strategic merge patch says.
    pub(super) async fn patch(&self, path: &str, patch: &Value) -> Result<Value, Failure> {
        let content = "application/strategic-merge-patch+json";
        self.ask(Method::PATCH, path, Some(patch), Some(content))
            .await
    }

    /// Deletes an object; `options` is a `DeleteOptions`.
    pub(super) async fn delete(&self, path: &str, options: &Value) -> Result<(), Failure> {
        self.ask(Method::DELETE, path, Some(options), Some(JSON))
            .await
            .map(drop)
    }

    /// All of a collection, in pages, as it is at the moment: the API server asks its etcd, and not a cache of its own,
    /// which may be older than what another API server has told us before. Each object is read when its page is
    /// there, so that no more than one page is held as text.
    pub(super) async fn list<T>(
        &self,
        collection: &Collection,
        read: impl Fn(&str) -> T,
    ) -> Result<Vec<T>, Failure> {
        for _ in 0..TRIES {
            match self.try_list(collection, Some(PAGE), &read).await {
                Err(Failure::Expired) => {}
                done => return done,
            }
        }
        // In one piece nothing can be compacted between two pages.
        self.try_list(collection, None, &read).await
    }

    async fn try_list<T>(
        &self,
        collection: &Collection,
        limit: Option<usize>,
        read: &impl Fn(&str) -> T,
    ) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let part = self.part(collection, limit, next.as_deref(), read).await?;
            items.extend(part.items);
            match part.next {
                None => return Ok(items),
                more => next = more,
            }
        }
    }

    /// The first `limit` objects, or those that come `next`. `Expired`: the list has to begin anew.
    pub(super) async fn part<T>(
        &self,
        collection: &Collection,
        limit: Option<usize>,
        next: Option<&str>,
        read: impl Fn(&str) -> T,
    ) -> Result<Part<T>, Failure> {
        let text = self.page(collection, limit, next).await?;
        let page = page_of(&text)?;
        let objects = page.items.unwrap_or_default().into_iter();
        Ok(Part {
            items: objects.map(|object| read(object.get())).collect(),
            resource_version: page.metadata.resource_version,
            next: page.metadata.next.filter(|next| !next.is_empty()),
        })
    }

    /// Where a collection is in its history.
    pub(super) async fn position(&self, collection: &Collection) -> Result<String, Failure> {
        let text = self.page(collection, Some(1), None).await?;
        Ok(page_of(&text)?.metadata.resource_version)
    }

    async fn page(
        &self,
        collection: &Collection,
        limit: Option<usize>,
        next: Option<&str>,
    ) -> Result<String, Failure> {
        let limit = limit.map(|limit| limit.to_string());
        let query = [
            ("fieldSelector", collection.field_selector.as_deref()),
            ("limit", limit.as_deref()),
            ("continue", next),
        ];
        let path = with_query(&collection.path, &query);
        self.ask_text(Method::GET, &path, None, None).await
    }

    /// Opens a watch from a place in history on. The API server ends it after `limit`.
    pub(super) async fn watch(
        &self,
        collection: &Collection,
        resource_version: &str,
        limit: Duration,
    ) -> Result<impl Stream<Item = Result<Event, Failure>> + use<>, Failure> {
        let seconds = limit.as_secs().to_string();
        let query = [
            ("watch", Some("true")),
            ("fieldSelector", collection.field_selector.as_deref()),
            ("resourceVersion", Some(resource_version)),
            ("allowWatchBookmarks", Some("true")),
            ("timeoutSeconds", Some(&*seconds)),
        ];
        let path = with_query(&collection.path, &query);
        let request = request(Method::GET, &path, None, None)?;
        let opened = tokio::time::timeout(TIMEOUT, self.http.request_stream(request));
        let answer = opened.await.map_err(|_| too_slow())?.map_err(failure)?;
        Ok(answer.lines().map(|line| {
            let line = line.map_err(|error| Failure::Unavailable(chain(&error)))?;
            event_of(&line)
        }))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content: Option<&str>,
    ) -> Result<Value, Failure> {
        let text = self.ask_text(method, path, body, content).await?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Unavailable(format!("its answer cannot be read: {error}")))
    }

    /// With a time limit. A server that has too much to do is asked again when it wants to be.
    async fn ask_text(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content: Option<&str>,
    ) -> Result<String, Failure> {
        let body = body.map(Value::to_string);
        let limit = Instant::now() + TIMEOUT;
        loop {
            let request = request(method.clone(), path, body.clone(), content)?;
            let asked = Box::pin(self.http.request_text(request));
            let answer = tokio::time::timeout_at(limit, asked).await;
            let error = match answer.map_err(|_| too_slow())? {
                Ok(text) => return Ok(text),
                Err(error) => error,
            };
            // Only this refusal says that nothing was done.
            let pause = match &error {
                kube::Error::Api(status) if status.code == 429 => {
                    let wanted = status
                        .details
                        .as_ref()
                        .map_or(0, |all| all.retry_after_seconds);
                    Duration::from_secs(u64::from(wanted.max(1)))
                }
                _ => return Err(sized(failure(error), body.map_or(0, |body| body.len()))),
            };
            if Instant::now() + pause >= limit {
                return Err(failure(error));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<String>,
    content: Option<&str>,
) -> Result<Request<Vec<u8>>, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, JSON)
        .header(
            header::USER_AGENT,
            concat!("caracal/", env!("CARGO_PKG_VERSION")),
        );
    if let Some(content) = content {
        request = request.header(header::CONTENT_TYPE, content);
    }
    request
        .body(body.map(String::into_bytes).unwrap_or_default())
        .map_err(|error| Failure::Invalid(format!("{path}: {error}")))
}

fn page_of(text: &str) -> Result<Page<'_>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Unavailable(format!("its list cannot be read: {error}")))
}

fn event_of(line: &str) -> Result<Event, Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::Unavailable(format!("what its watch tells cannot be read: {error}"))
    };
    let Line { sort, object } = serde_json::from_str(line).map_err(unreadable)?;
    match sort.as_str() {
        "ADDED" | "MODIFIED" => Ok(Event::Set(object.get().to_owned())),
        "DELETED" => Ok(Event::Deleted(object.get().to_owned())),
        "BOOKMARK" => {
            let bookmark: Page<'_> = serde_json::from_str(object.get()).map_err(unreadable)?;
            Ok(Event::Bookmark(bookmark.metadata.resource_version))
        }
        "ERROR" => {
            let status: Status = serde_json::from_str(object.get()).map_err(unreadable)?;
            Err(refusal(&status))
        }
        _ => Err(Failure::Unavailable(format!("its watch tells {sort:?}"))),
    }
}

fn too_slow() -> Failure {
    Failure::Unavailable(format!("no answer within {} s", TIMEOUT.as_secs()))
}

/// What the API server or the connection says.
fn failure(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => refusal(&status),
        kube::Error::Service(error) => Failure::Unavailable(chain(error.as_ref())),
        error => Failure::Unavailable(chain(&error)),
    }
}

/// What an answer of the API server means.
fn refusal(status: &Status) -> Failure {
    let message = match status.message.trim() {
        "" => status.reason.clone(),
        message => message.to_owned(),
    };
    match (status.code, status.reason.as_str()) {
        (404, _) => Failure::Absent(message),
        (409, "AlreadyExists") => Failure::Exists,
        (409, _) => Failure::Conflict(message),
        (410, _) | (_, "Expired" | "Gone") => Failure::Expired,
        (400 | 405 | 413 | 415 | 422, _) => Failure::Invalid(message),
        (401, _) => Failure::Unavailable(format!(
            "it does not know who we are (401): the token or certificate is wrong or has run out: {message}"
        )),
        // `... is forbidden: User "system:serviceaccount:..." cannot list resource "ippools" in API group "..."`
        (403, _) => Failure::Forbidden(format!("a right is missing (403): {message}")),
        _ if TOO_LARGE.iter().any(|words| message.contains(words)) => Failure::Invalid(message),
        (code, _) => Failure::Unavailable(format!("{message} ({code})")),
    }
}

fn sized(failure: Failure, bytes: usize) -> Failure {
    match failure {
        Failure::Invalid(why) if TOO_LARGE.iter().any(|words| why.contains(words)) => {
            Failure::Invalid(format!(
                "its {bytes} octets are more than the API server takes: {why}"
            ))
        }
        failure => failure,
    }
}

/// Of the API server, of etcd and of Go's gRPC.
const TOO_LARGE: [&str; 4] = [
    "entity too large",
    "entity is too large",
    "request is too large",
    "message larger than max",
];
const JSON: &str = "application/json";

fn with_query(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut all = path.to_owned();
    let mut sign = '?';
    for (name, value) in query {
        if let Some(value) = value {
            all.push(sign);
            all.push_str(name);
            all.push('=');
            all.push_str(&escaped(value));
            sign = '&';
        }
    }
    all
}

/// As part of a URL (RFC 3986 §2.1).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    //! Words and addresses; the rest is tested with a server.

    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Status {
        Status {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Status::default()
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let of = |code, reason, message| refusal(&status(code, reason, message));
        assert_eq!(of(409, "AlreadyExists", "x"), Failure::Exists);
        assert_eq!(of(409, "Conflict", "x"), Failure::Conflict("x".into()));
        assert_eq!(of(410, "Expired", "too old"), Failure::Expired);
        assert_eq!(of(404, "NotFound", "x"), Failure::Absent("x".into()));
        assert_eq!(of(422, "Invalid", "x"), Failure::Invalid("x".into()));
        let large = of(500, "", "etcdserver: request is too large");
        let Failure::Invalid(why) = sized(large, 3_000_000) else {
            panic!("it will never fit");
        };
        assert!(why.starts_with("its 3000000 octets"), "{why}");
        let Failure::Forbidden(why) = of(
            403,
            "Forbidden",
            "User \"u\" cannot list resource \"ippools\"",
        ) else {
            panic!("a right may be granted");
        };
        assert!(
            why.contains("a right is missing") && why.contains("cannot list"),
            "{why}"
        );
    }

    #[test]
    fn a_watch_is_told_in_lines() {
        let object = r#"{"metadata":{"resourceVersion":"7"},"n":1806000000123456789}"#;
        let of = |sort: &str| event_of(&format!(r#"{{"object":{object},"type":"{sort}"}}"#));
        let Ok(Event::Set(text)) = of("ADDED") else {
            panic!()
        };
        assert_eq!(text, object);
        assert!(matches!(of("DELETED"), Ok(Event::Deleted(_))));
        assert!(matches!(of("BOOKMARK"), Ok(Event::Bookmark(version)) if version == "7"));
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert_eq!(event_of(gone).unwrap_err(), Failure::Expired);
        assert!(event_of("{").is_err() && of("NEW").is_err());
    }

    #[test]
    fn what_is_asked_for_is_escaped() {
        let query = [("a", Some("x=y&z")), ("b", None), ("c", Some("1"))];
        assert_eq!(with_query("/p", &query), "/p?a=x%3Dy%26z&c=1");
        assert_eq!(escaped("a/b ü%"), "a%2Fb%20%C3%BC%25");
    }
}
