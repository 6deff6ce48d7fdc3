//! The agent's two faces: the unix socket (requests of the plugin and caracalctl) and HTTP (Prometheus, probes).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use caracal_agent_api::{
    ApiError, CniAdd, CniAttached, CniDel, CniGc, FibRoute, Route, SpeakerRequest,
};
use caracal_fib::RouteStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::shared::Shared;
use crate::workloads::Refusal;

/// Removes our socket when we end, however we end.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the socket for this process, with mode 0600. A living agent's is left alone, a dead one's replaced.
pub(crate) async fn claim(path: &Path) -> anyhow::Result<(UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("socket {}: cannot make its folder", path.display()))?;
    }
    if UnixStream::connect(path).await.is_ok() {
        anyhow::bail!(
            "socket {}: another agent is running and answers there",
            path.display()
        );
    }
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
            return Err(fault)
                .with_context(|| format!("socket {}: cannot be replaced", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("socket {}: cannot listen", path.display()))?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("socket {}: cannot set its mode", path.display()))?;
    Ok((listener, file))
}

/// Opens the port for Prometheus and probes.
pub(crate) async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("http.listen {address}: cannot listen"))
}

/// Answers on the socket until the process ends.
pub(crate) async fn serve_socket(listener: UnixListener, shared: Arc<Shared>) {
    let mut router = Router::new();
    for request in SpeakerRequest::ALL {
        let answer = async move |State(shared): State<Arc<Shared>>, body: String| {
            ask(&shared, request, body).await
        };
        router = router.route(request.path(), post(answer));
    }
    let router = router
        .route(
            "/v1/status",
            get(|State(shared): State<Arc<Shared>>| async move { Json(shared.status().await) }),
        )
        .route(
            "/v1/peers",
            get(|State(shared): State<Arc<Shared>>| async move { Json(shared.peers().await) }),
        )
        .route("/v1/routes", get(routes))
        .route("/v1/fib", get(fib))
        .route(
            "/v1/endpoints",
            get(|State(shared): State<Arc<Shared>>| async move { Json(shared.workloads.view()) }),
        )
        .route("/v1/metrics", get(metrics))
        .route("/v1/cni/add", post(cni_add))
        .route("/v1/cni/attached", post(cni_attached))
        .route("/v1/cni/del", post(cni_del))
        .route("/v1/cni/check", post(cni_check))
        .route("/v1/cni/gc", post(cni_gc))
        .route("/v1/cni/status", get(cni_status))
        .fallback(unknown)
        .with_state(shared);
    if let Err(fault) = axum::serve(listener, router).await {
        tracing::error!("the agent's socket has failed: {fault}");
    }
}

/// Answers on HTTP until the process ends.
pub(crate) async fn serve_http(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(unknown)
        .with_state(shared);
    if let Err(fault) = axum::serve(listener, router).await {
        tracing::error!("HTTP has failed: {fault}");
    }
}

async fn unknown(uri: axum::http::Uri) -> Response {
    failure(StatusCode::NOT_FOUND, format!("{uri}: no such request"))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let peers = shared.peers().await;
    let status = shared.status_with(&peers).await;
    let bfd = shared.watch.view().await;
    shared.metrics.set_monitoring(&shared.monitoring.view());
    let encoded = shared.shell.with(|speaker, _| speaker.updates_encoded());
    let encoded = encoded.await.unwrap_or_default();
    shared.metrics.set_updates_encoded(encoded);
    let fib = shared.fib.status().borrow().clone();
    match shared
        .metrics
        .render(&status, &peers, &fib, &bfd, shared.config.metrics.per_peer)
    {
        Ok(text) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(fault) => failure(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let (fib, filter) = (shared.fib.status(), shared.filter.status());
    let reasons = crate::shared::not_ready(&shared.snapshot(), &fib.borrow(), &filter.borrow());
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{}\n", reasons.join("\n")),
    )
        .into_response()
}

async fn routes(State(shared): State<Arc<Shared>>) -> Response {
    match shared.shell.with(|speaker, _| speaker.routes()).await {
        Ok(routes) => {
            Json(routes.into_iter().map(Route::from).collect::<Vec<Route>>()).into_response()
        }
        Err(fault) => failure(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
    }
}

/// What the speaker is asked or told.
async fn ask(shared: &Shared, request: SpeakerRequest, body: String) -> Response {
    if request.is_order() {
        tracing::info!("by hand: {} {body}", request.path());
    }
    let asked = shared
        .shell
        .with(move |speaker, now| request.answer(speaker, now, &body));
    reply(match asked.await {
        Ok(answer) => answer.map_err(Refusal::Wrong),
        Err(fault) => Err(Refusal::Later(fault.to_string())),
    })
}

async fn fib(State(shared): State<Arc<Shared>>) -> Response {
    match shared.fib.routes().await {
        Ok(routes) => {
            Json(routes.into_iter().map(fib_route).collect::<Vec<FibRoute>>()).into_response()
        }
        Err(fault) => failure(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
    }
}

pub(crate) fn fib_route(status: RouteStatus) -> FibRoute {
    FibRoute {
        prefix: status.prefix,
        way: status.way,
        metric: Some(status.metric),
        nexthop_id: status.nexthop_id,
        state: status.state,
        reason: status.reason,
    }
}

async fn cni_add(State(shared): State<Arc<Shared>>, body: String) -> Response {
    timed(&shared, "add", decode::<CniAdd>(&body), async |request| {
        shared.workloads.add(&request).await
    })
    .await
}

async fn cni_attached(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let attach = async |request| {
        shared
            .workloads
            .attached(&request)
            .await
            .map(|()| serde_json::json!({}))
    };
    timed(&shared, "attached", decode::<CniAttached>(&body), attach).await
}

async fn cni_del(State(shared): State<Arc<Shared>>, body: String) -> Response {
    timed(&shared, "del", decode::<CniDel>(&body), async |request| {
        shared.workloads.del(&request).await
    })
    .await
}

async fn cni_check(State(shared): State<Arc<Shared>>, body: String) -> Response {
    timed(&shared, "check", decode::<CniDel>(&body), async |request| {
        shared.workloads.check(&request).await
    })
    .await
}

async fn cni_gc(State(shared): State<Arc<Shared>>, body: String) -> Response {
    timed(&shared, "gc", decode::<CniGc>(&body), async |request| {
        shared.workloads.gc(&request).await
    })
    .await
}

async fn cni_status(State(shared): State<Arc<Shared>>) -> Response {
    reply(shared.workloads.status().map(|()| serde_json::json!({})))
}

async fn timed<Request, Reply: Serialize>(
    shared: &Shared,
    command: &str,
    request: Result<Request, Refusal>,
    work: impl AsyncFnOnce(Request) -> Result<Reply, Refusal>,
) -> Response {
    let started = Instant::now();
    let outcome = match request {
        Ok(request) => work(request).await,
        Err(refusal) => Err(refusal),
    };
    shared
        .metrics
        .cni_done(command, outcome.is_ok(), started.elapsed());
    reply(outcome)
}

fn decode<Request: DeserializeOwned>(body: &str) -> Result<Request, Refusal> {
    serde_json::from_str(body)
        .map_err(|fault| Refusal::Wrong(format!("request cannot be read: {fault}")))
}

fn reply(outcome: Result<impl Serialize, Refusal>) -> Response {
    match outcome {
        Ok(reply) => Json(reply).into_response(),
        Err(Refusal::Wrong(words)) => failure(StatusCode::BAD_REQUEST, words),
        Err(Refusal::Later(words)) => failure(StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

fn failure(status: StatusCode, error: String) -> Response {
    (status, Json(ApiError { error })).into_response()
}
