//! An API server that is played in this process, by the rules of a real one and the whims of a test: for what a real one
//! does too seldom to be waited for. Time may stand still.

mod addresses;
mod scenarios;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Bytes, Frame};
use hyper::http::{Method, Request, Response, Uri};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower::BoxError;

use super::KubernetesDatastore;
use super::client::Client;
use super::config::KubernetesConfig;
use super::server::Server;

/// The API server, and the line to it.
#[derive(Clone)]
pub(super) struct Player {
    stage: Arc<Mutex<Stage>>,
    line: watch::Sender<Line>,
}

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// Nothing gets through, and nobody is told.
    Silent,
    /// Connections are refused.
    Down,
}

/// What happens to one request instead of its answer.
pub(super) enum Act {
    /// A refusal: code, reason, message, seconds after which to come again.
    Refuse(u16, &'static str, &'static str, u32),
    /// A refusal of something in front of the API server, which is no `Status`.
    Text(u16, &'static str),
    /// The connection breaks.
    Cut,
}

#[derive(Default)]
struct Stage {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    history: Vec<Change>,
    /// Of what is before, nothing is kept.
    oldest: u64,
    /// What is left of a list, by its `continue`.
    pages: HashMap<String, Vec<Value>>,
    watches: Vec<Watch>,
    watches_opened: u64,
    script: VecDeque<(String, Act)>,
    asked: Vec<String>,
}

struct Change {
    version: u64,
    sort: &'static str,
    path: String,
    object: Value,
}

struct Watch {
    id: u64,
    collection: String,
    events: mpsc::UnboundedSender<Result<Bytes, BoxError>>,
}

impl Player {
    pub(super) fn new() -> Player {
        Player {
            stage: Arc::default(),
            line: watch::Sender::new(Line::Up),
        }
    }

    /// A datastore on it.
    pub(super) async fn datastore(&self) -> KubernetesDatastore {
        let player = self.clone();
        let service = tower::service_fn(move |request| {
            let player = player.clone();
            async move { player.answer(request).await }
        });
        let http = kube::Client::new(service, "kube-system");
        let config = KubernetesConfig::default();
        let server = Server::with_client(Client::played(http), &config)
            .await
            .unwrap();
        KubernetesDatastore::on(server)
    }

    /// The next requests whose method and address contain these words.
    pub(super) fn next(&self, words: &str, acts: impl IntoIterator<Item = Act>) {
        let acts = acts.into_iter().map(|act| (words.to_owned(), act));
        self.stage().script.extend(acts);
    }

    /// Somebody creates or changes an object.
    pub(super) fn set(&self, path: &str, object: Value) {
        self.stage().set(path, object);
    }

    /// Somebody deletes an object.
    pub(super) fn remove(&self, path: &str) {
        self.stage().remove(path);
    }

    pub(super) fn object(&self, path: &str) -> Option<Value> {
        self.stage().objects.get(path).cloned()
    }

    /// Requests that contain these words.
    pub(super) fn asked(&self, words: &str) -> Vec<String> {
        let stage = self.stage();
        let asked = stage.asked.iter().filter(|asked| asked.contains(words));
        asked.cloned().collect()
    }

    /// The past is forgotten.
    pub(super) fn compact(&self) {
        let mut stage = self.stage();
        stage.history.clear();
        stage.pages.clear();
        stage.oldest = stage.version;
    }

    /// Each watch is told how far it is.
    pub(super) fn bookmark(&self) {
        let mut stage = self.stage();
        let bookmark = json!({"metadata": {"resourceVersion": stage.version.to_string()}});
        for watch in &mut stage.watches {
            watch.tell("BOOKMARK", &bookmark);
        }
    }

    /// Each watch is told something that is no event.
    pub(super) fn babble(&self, line: &'static [u8]) {
        for watch in &self.stage().watches {
            let _ = watch.events.send(Ok(Bytes::from_static(line)));
        }
    }

    /// Each watch ends with an error, or is told that what it needs is gone.
    pub(super) fn end_watches(&self, act: &Act) {
        for mut watch in std::mem::take(&mut self.stage().watches) {
            match act {
                Act::Refuse(code, reason, message, _) => {
                    watch.tell("ERROR", &status(*code, reason, message, 0));
                }
                Act::Text(..) => {}
                Act::Cut => drop(watch.events.send(Err(reset()))),
            }
        }
    }

    /// Nothing gets through any more, in either direction.
    pub(super) fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    pub(super) fn refuse_connections(&self) {
        self.line.send_replace(Line::Down);
        self.end_watches(&Act::Cut);
    }

    /// The line is up; whatever was on it is broken.
    pub(super) fn mend(&self) {
        self.line.send_replace(Line::Up);
        self.end_watches(&Act::Cut);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        self.stage()
            .asked
            .push(format!("{} {}", head.method, head.uri));
        let mut line = self.line.subscribe();
        let now = *line.borrow_and_update();
        match now {
            Line::Up => {}
            Line::Down => return Err(reset()),
            Line::Silent => {
                let _ = line.wait_for(|line| *line != Line::Silent).await;
                return Err(reset());
            }
        }
        match self.stage().act(&head.method, &head.uri) {
            None => {}
            Some(Act::Cut) => return Err(reset()),
            Some(Act::Refuse(code, reason, message, after)) => {
                return answer(code, &status(code, reason, message, after).to_string());
            }
            Some(Act::Text(code, text)) => return answer(code, text),
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if query(&head.uri, "watch").is_some() {
            return self.watch(&head.uri);
        }
        let done = self.stage().serve(&head.method, &head.uri, &body);
        match done {
            Ok(value) => answer(200, &value.to_string()),
            Err((code, reason, message)) => {
                answer(code, &status(code, reason, &message, 0).to_string())
            }
        }
    }

    fn watch(&self, uri: &Uri) -> Result<Response<Answer>, BoxError> {
        let number = |name| query(uri, name).and_then(|text| text.parse::<u64>().ok());
        let (events, receiver) = mpsc::unbounded_channel();
        let mut stage = self.stage();
        stage.watches_opened += 1;
        let mut watch = Watch {
            id: stage.watches_opened,
            collection: uri.path().to_owned(),
            events,
        };
        let since = number("resourceVersion").unwrap_or(0);
        if since < stage.oldest {
            watch.tell(
                "ERROR",
                &status(410, "Expired", "too old resource version", 0),
            );
        } else {
            for change in stage.history.iter().filter(|change| change.version > since) {
                watch.tell_change(change);
            }
            let (player, id) = (self.clone(), watch.id);
            let seconds = number("timeoutSeconds").unwrap_or(300);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                // The end of a watch does not get through a dead line either.
                if *player.line.borrow() == Line::Up {
                    player.stage().watches.retain(|watch| watch.id != id);
                }
            });
            stage.watches.push(watch);
        }
        let line = self.line.subscribe();
        Ok(Response::new(Answer { receiver, line }))
    }
}

impl Stage {
    fn act(&mut self, method: &Method, uri: &Uri) -> Option<Act> {
        let asked = format!("{method} {uri}");
        let found = self
            .script
            .iter()
            .position(|(words, _)| asked.contains(words));
        self.script.remove(found?).map(|(_, act)| act)
    }

    fn set(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let before = self.objects.get(path);
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["uid"] = match before {
            Some(before) => before["metadata"]["uid"].clone(),
            None => json!(format!("00000000-0000-4000-8000-{:012}", self.version)),
        };
        let sort = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.objects.insert(path.to_owned(), object.clone());
        self.happened(sort, path, object.clone());
        object
    }

    fn remove(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.happened("DELETED", path, object);
        }
    }

    fn happened(&mut self, sort: &'static str, path: &str, object: Value) {
        let change = Change {
            version: self.version,
            sort,
            path: path.to_owned(),
            object,
        };
        for watch in &mut self.watches {
            watch.tell_change(&change);
        }
        self.history.push(change);
    }

    fn serve(
        &mut self,
        method: &Method,
        uri: &Uri,
        body: &Value,
    ) -> Result<Value, (u16, &'static str, String)> {
        let path = uri.path();
        let path = path.strip_suffix("/status").unwrap_or(path);
        let missing = || (404, "NotFound", format!("{path} not found"));
        let versions = |there: &Value, wanted: &Value| {
            ["uid", "resourceVersion"]
                .iter()
                .all(|field| wanted[field].is_null() || wanted[field] == there["metadata"][field])
        };
        let conflict = || (409, "Conflict", "the object has been modified".to_owned());
        match Shape::of(path) {
            Shape::Group => served(path).ok_or_else(missing),
            Shape::Collection if method == Method::GET => self.list(uri),
            Shape::Collection => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return Err((409, "AlreadyExists", format!("{path} already exists")));
                }
                Ok(self.set(&path, body.clone()))
            }
            Shape::Object => {
                let there = self.objects.get(path).ok_or_else(missing)?.clone();
                if method == Method::GET {
                    return Ok(there);
                }
                let wanted = match *method {
                    Method::DELETE => &body["preconditions"],
                    _ => &body["metadata"],
                };
                if !versions(&there, wanted) {
                    return Err(conflict());
                }
                match *method {
                    Method::DELETE => {
                        self.remove(path);
                        Ok(there)
                    }
                    Method::PUT => Ok(self.set(path, body.clone())),
                    _ => {
                        let mut merged = there;
                        merge(&mut merged, body);
                        Ok(self.set(path, merged))
                    }
                }
            }
        }
    }

    fn list(&mut self, uri: &Uri) -> Result<Value, (u16, &'static str, String)> {
        let mut rest = match query(uri, "continue") {
            Some(token) => self.pages.remove(&token).ok_or_else(|| {
                (
                    410,
                    "Expired",
                    "The provided continue parameter is too old".to_owned(),
                )
            })?,
            None => {
                let of = self
                    .objects
                    .iter()
                    .filter(|(path, _)| is_in(path, uri.path()));
                of.map(|(_, object)| object.clone()).collect()
            }
        };
        let limit = query(uri, "limit").and_then(|limit| limit.parse::<usize>().ok());
        let more = rest.split_off(limit.unwrap_or(usize::MAX).min(rest.len()));
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if !more.is_empty() {
            let token = format!("token-{}", self.asked.len());
            metadata["continue"] = json!(token);
            self.pages.insert(token, more);
        }
        Ok(json!({"metadata": metadata, "items": rest}))
    }
}

impl Watch {
    fn tell_change(&mut self, change: &Change) {
        if is_in(&change.path, &self.collection) {
            self.tell(change.sort, &change.object);
        }
    }

    fn tell(&mut self, sort: &str, object: &Value) {
        let mut line = json!({"type": sort, "object": object}).to_string();
        line.push('\n');
        let _ = self.events.send(Ok(line.into()));
    }
}

/// The octets of an answer, as far as the line lets them through.
pub(super) struct Answer {
    receiver: mpsc::UnboundedReceiver<Result<Bytes, BoxError>>,
    line: watch::Receiver<Line>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if *self.line.borrow() == Line::Silent {
            // What is sent now is lost. Who mends the line breaks what is on it, which wakes whoever waits here.
            while let Poll::Ready(Some(_)) = self.receiver.poll_recv(context) {}
            return Poll::Pending;
        }
        let next = self.receiver.poll_recv(context);
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }
}

/// What a path names.
enum Shape {
    Group,
    Collection,
    Object,
}

impl Shape {
    fn of(path: &str) -> Shape {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let rest = parts
            .get(if parts[0] == "api" { 2 } else { 3 }..)
            .unwrap_or_default();
        match rest {
            [] => Shape::Group,
            ["namespaces", _, _] | [_] => Shape::Collection,
            _ => Shape::Object,
        }
    }
}

/// Whether an object of that path is of that collection, which may be that of all namespaces.
fn is_in(path: &str, collection: &str) -> bool {
    let Some((of, _)) = path.rsplit_once('/') else {
        return false;
    };
    let all = of.split_once("/namespaces/").and_then(|(root, rest)| {
        let (_, plural) = rest.split_once('/')?;
        Some(format!("{root}/{plural}"))
    });
    of == collection || all.as_deref() == Some(collection)
}

/// What a group serves.
fn served(path: &str) -> Option<Value> {
    let plural = match path {
        "/apis/crd.projectcalico.org/v1" => "ippools",
        "/apis/discovery.k8s.io/v1" => "endpointslices",
        _ => return None,
    };
    Some(json!({"resources": [{"name": plural}]}))
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

fn status(code: u16, reason: &str, message: &str, after: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": message,
        "details": {"retryAfterSeconds": after},
    })
}

fn answer(code: u16, text: &str) -> Result<Response<Answer>, BoxError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let _ = sender.send(Ok(Bytes::from(text.to_owned())));
    let line = watch::Sender::new(Line::Up).subscribe();
    let response = Response::builder().status(code);
    Ok(response.body(Answer { receiver, line })?)
}

fn reset() -> BoxError {
    "connection reset by peer".into()
}

/// RFC 7386, which is all that our patches need of a strategic merge.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (field, value) in patch {
                match value {
                    Value::Null => drop(fields.remove(field)),
                    value => merge(
                        fields.entry(field.clone()).or_insert_with(|| json!({})),
                        value,
                    ),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
