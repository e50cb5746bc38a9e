//! What every serving command shares: listeners, the app behind them, the sweeper, and the drain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Failure;
use crate::{
    app::App,
    config::Server,
    server::{self, Threads, Tls},
    web,
};

/// Where requests come in.
pub(super) struct Listeners {
    /// The API, the images and the demo page.
    pub(super) main: TcpListener,
    /// `/livez`, `/readyz` and `/metrics`.
    pub(super) ops: TcpListener,
    /// Whether another process may have the second one, too, and answers there once this one is to stop.
    pub(super) ops_is_shared: bool,
    /// TLS on the first of them.
    pub(super) tls: Option<Arc<Tls>>,
}

/// Listens; `flag` is blamed when that fails.
pub(super) async fn bind(flag: &str, wanted: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(wanted).await.map_err(|error| {
        Failure::failed(format!("{flag} {wanted}: {error}; choose another address, or port 0 for a free one"))
    })
}

/// Listens on a socket that came with the process; without one as [`bind`] does.
pub(super) async fn listen(
    inherited: Option<std::net::TcpListener>,
    flag: &str,
    wanted: SocketAddr,
) -> Result<TcpListener, Failure> {
    let Some(socket) = inherited else { return bind(flag, wanted).await };
    socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)).map_err(Failure::failed)
}

/// The address that was chosen.
pub(super) fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(Failure::failed)
}

/// The bounds of every listener.
pub(super) fn limits(settings: &Server) -> server::Limits {
    server::Limits {
        max_connections: settings.max_connections,
        header_timeout: Duration::from_secs(settings.header_timeout_secs),
        write_timeout: Duration::from_secs(settings.write_timeout_secs),
        drain: Duration::from_secs(settings.drain_secs),
        linger: Duration::from_secs(settings.linger_secs),
    }
}

/// Completes at SIGTERM or SIGINT; listening starts at once, so that no signal is missed.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Keeps the process from ending at a SIGHUP, which means to read again what is followed; with nothing to read, too.
pub(super) fn outlive_hangup() -> Result<(), Failure> {
    // The handler stays when this is dropped.
    signal(SignalKind::hangup()).map(drop).map_err(Failure::failed)
}

/// Tells systemd how it fares, if it was started by it as `Type=notify`.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told how it fares: {error}");
    }
}

/// Serves until `stop` completes, then lets what is under way finish. The database stays open.
pub(super) async fn until(
    stop: impl Future<Output = ()>,
    app: Arc<App>,
    listeners: Listeners,
) -> Result<(), Failure> {
    let threads = Arc::new(Threads::start(app.config.server.threads).map_err(Failure::failed)?);
    let limits = limits(&app.config.server);
    let (stopping, stops) = watch::channel(false);
    let (for_main, for_ops) = (Arc::clone(&app), Arc::clone(&app));
    let main = tokio::spawn({
        let (threads, tls, stops) = (Arc::clone(&threads), listeners.tls.clone(), stops.clone());
        let answer = move |peer, request| web::handle(Arc::clone(&for_main), peer, request);
        async move {
            server::serve(listeners.main, limits, tls.as_deref(), Some(&threads), stops, answer).await;
        }
    });
    let (stopping_ops, ops_stops) = watch::channel(false);
    // When it stops last, nothing is left to be asked about.
    let linger = if listeners.ops_is_shared { limits.linger } else { Duration::ZERO };
    let ops_limits = server::Limits { linger, ..limits };
    let mut ops =
        tokio::spawn(server::serve(listeners.ops, ops_limits, None, None, ops_stops, move |_, request| {
            web::ops::handle(Arc::clone(&for_ops), request)
        }));
    let listening = tokio::spawn({
        let db = app.db.clone();
        async move { db.listen().await }
    });
    let asking = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.issuer.run(&app.identity).await }
    });
    let following = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.links.run().await }
    });
    let certifying = listeners.tls.map(|tls| tokio::spawn(async move { tls.follow().await }));
    let sweeping = app.config.server.role.controls().then(|| {
        let app = Arc::clone(&app);
        let every = Duration::from_secs(app.config.upload.sweep_secs);
        tokio::spawn(async move { app.sweeper.run(every).await })
    });

    let (tell_purger, stops) = watch::channel(false);
    let purger = app.purger.clone().filter(|_| app.config.server.role.controls());
    let purging = purger.map(|purger| tokio::spawn(async move { purger.run(stops).await }));

    tell(NotifyState::Ready);
    stop.await;
    tell(NotifyState::Stopping);
    tracing::info!("stopping: requests under way are finished first");
    app.drain();
    // Errors mean that nobody listens any more, which is what is wanted.
    let _ = stopping.send(true);
    if listeners.ops_is_shared {
        let _ = stopping_ops.send(true);
    }
    let give_up = Instant::now() + limits.drain;
    let _ = main.await;
    app.finish(give_up).await;
    // What the last requests have changed edges are told; what they do not take at once stays in the outbox.
    let _ = tell_purger.send(true);
    if let Some(mut purging) = purging
        && timeout_at(give_up, &mut purging).await.is_err()
    {
        purging.abort();
    }
    // Until here balancers are told that it drains, and whoever measures sees how that goes.
    let _ = stopping_ops.send(true);
    if timeout_at(give_up, &mut ops).await.is_err() {
        ops.abort();
    }
    listening.abort();
    asking.abort();
    following.abort();
    if let Some(certifying) = certifying {
        certifying.abort();
    }
    // Killed anywhere, a sweep is done again.
    if let Some(sweeping) = sweeping {
        sweeping.abort();
    }
    Ok(())
}
