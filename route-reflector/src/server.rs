//! The reflector's two faces: the unix socket (caracalctl) and HTTP (Prometheus, probes).

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use caracal_agent_api::{ApiError, EndpointView, FibRoute, SpeakerRequest};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::shared::Shared;

/// Takes the socket for this process, with mode 0600. A living process's is left alone, a dead one's replaced.
pub(crate) async fn claim(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("socket {shown}: cannot make its folder"))?;
    }
    if UnixStream::connect(path).await.is_ok() {
        anyhow::bail!("socket {shown}: another process is running and answers there");
    }
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
            return Err(fault).with_context(|| format!("socket {shown}: cannot be replaced"));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("socket {shown}: cannot listen"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("socket {shown}: cannot set its mode"))?;
    Ok(listener)
}

/// Opens the port for Prometheus and probes.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
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
        .route(
            "/v1/routes",
            get(|State(shared): State<Arc<Shared>>| async move { Json(shared.routes().await) }),
        )
        .route("/v1/metrics", get(metrics))
        // A reflector forwards nothing and has no pods; caracalctl may ask all the same.
        .route("/v1/fib", get(|| async { Json(Vec::<FibRoute>::new()) }))
        .route(
            "/v1/endpoints",
            get(|| async { Json(Vec::<EndpointView>::new()) }),
        )
        .fallback(unknown)
        .with_state(shared);
    if let Err(fault) = axum::serve(listener, router).await {
        tracing::error!("the reflector's socket has failed: {fault}");
    }
}

/// Answers on HTTP until the process ends.
pub(crate) async fn serve_http(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(unknown)
        .with_state(shared);
    if let Err(fault) = axum::serve(listener, router).await {
        tracing::error!("HTTP has failed: {fault}");
    }
}

/// What the speaker is asked or told.
async fn ask(shared: &Shared, request: SpeakerRequest, body: String) -> Response {
    let Some(running) = shared.state().running else {
        let words = "the speaker has not started yet".to_owned();
        return failure(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    if request.is_order() {
        tracing::info!("by hand: {} {body}", request.path());
    }
    let asked = running
        .shell
        .with(move |speaker, now| request.answer(speaker, now, &body));
    match asked.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(words)) => failure(StatusCode::BAD_REQUEST, words),
        Err(fault) => failure(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let peers = shared.peers().await;
    let status = shared.status_with(&peers).await;
    let bfd = shared.bfd().await;
    let (monitoring, refused) = (shared.monitoring(), shared.refused_connections());
    let metrics = &shared.metrics;
    metrics.set_updates_encoded(shared.updates_encoded().await);
    let rendered = metrics.render(&status, &peers, &bfd, &monitoring, refused);
    match rendered {
        Ok(text) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(fault) => failure(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()),
    }
}

/// Alive is who still serves the speaker's task.
async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let Some(running) = shared.state().running else {
        return "ok\n".into_response();
    };
    match tokio::time::timeout(PATIENCE, running.shell.with(|_, _| ())).await {
        Ok(Ok(())) => "ok\n".into_response(),
        _ => {
            let words = format!(
                "the speaker has not answered within {} s",
                PATIENCE.as_secs()
            );
            failure(StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = shared.not_ready_because();
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{}\n", reasons.join("\n")),
    )
        .into_response()
}

async fn unknown(uri: Uri) -> Response {
    failure(
        StatusCode::NOT_FOUND,
        format!("{uri}: a route reflector has no such request"),
    )
}

fn failure(status: StatusCode, error: String) -> Response {
    (status, Json(ApiError { error })).into_response()
}

const PATIENCE: Duration = Duration::from_secs(10);
