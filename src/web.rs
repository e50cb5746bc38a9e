//! From a request to a response, top to bottom: where to, who asks, one handler, the answer.

mod api;
pub mod body;
mod conditional;
mod deliver;
pub mod demo;
mod describe;
mod form;
mod headers;
mod idempotency;
pub mod ops;
mod paced;
mod route;
mod sent;
mod tus;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, future};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts,
};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    access::Scope,
    app::{App, requests::Answered},
    clock,
    error::{Code, Error},
    identity::{self, Caller, Claimed},
    log::{self, Ids},
    variants::{Streamed, Tier},
    wait::Wait,
};

use paced::{Pace, Paced};
use route::Route;
use sent::Sent;

/// A response's body: bytes at hand, or a stream from the bucket.
pub type Body = Either<Full<Bytes>, Streamed>;

/// How long it takes at least to say that nothing is there. What was looked at a moment ago is known without
/// the ledger being asked, and what is not there seldom was: else the time would tell them apart.
const LEAST_FOR_NOTHING: Duration = Duration::from_millis(5);

/// What a handler answers.
type Answer = Result<Response<Body>, Error>;

/// A request without its body, with what is known of it.
struct Context<'a> {
    app: &'a App,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    /// Who the connection is with: a client, or a proxy.
    peer: IpAddr,
    /// What a service key must be good for.
    needs: Scope,
    /// Whether what is not in memory may be waited for here.
    wait: Wait,
    /// When the request came, in microseconds since the Unix epoch.
    now_micros: i64,
}

impl Context<'_> {
    /// Who asks the control API. What is presented must be good.
    async fn caller(&self) -> Result<Caller, Error> {
        let caller = self.identified().await?;
        if self.is_erased(&caller).await? { Err(Error::erased()) } else { Ok(caller) }
    }

    /// Who looks at an image. An erased user's bearer token is refused, and his cookie counts as none.
    async fn viewer(&self) -> Result<Caller, Error> {
        self.find_missing_key().await;
        let caller = self.known(self.app.identity.viewer(self.headers, self.now_micros)?).await?;
        match self.is_erased(&caller).await? {
            false => Ok(caller),
            true if self.headers.contains_key(header::AUTHORIZATION) => Err(Error::erased()),
            true => Ok(Caller::Anonymous),
        }
    }

    /// Who asks the control API, be he erased or not.
    async fn identified(&self) -> Result<Caller, Error> {
        self.find_missing_key().await;
        self.known(self.app.identity.caller(self.method, self.headers, self.now_micros)?).await
    }

    /// Asks the ledger about a service key that the settings do not know.
    async fn known(&self, claimed: Claimed) -> Result<Caller, Error> {
        let key = match claimed {
            Claimed::Caller(caller) => return Ok(caller),
            Claimed::Key(key) => key,
        };
        let scopes = self.app.rights.of_key(&key.hash, self.wait).await?.ok_or_else(identity::bad_token)?;
        if !scopes.allow(self.needs) {
            return Err(Error::forbidden_to_key(self.needs));
        }
        key.caller()
    }

    /// Counts the request as its client's, or refuses it as one too many. Who shows nothing good is counted by his
    /// address.
    async fn count(&self) -> Result<(), Error> {
        if !self.app.rates.are_limited() {
            return Ok(());
        }
        let caller = self.identified().await.unwrap_or(Caller::Anonymous);
        if caller == Caller::Service {
            return Ok(());
        }
        let client = self.app.clients.of(caller.user(), self.headers, self.peer);
        self.app.rates.take(client).map_err(Error::too_many_requests)
    }

    /// A token may be signed with a key that its issuer has only just published.
    async fn find_missing_key(&self) {
        if self.app.identity.misses_a_key(self.headers) {
            self.wait.begin().await;
            self.app.issuer.ask_again(&self.app.identity).await;
        }
    }

    /// Whether the caller's account was erased: his tokens outlive it, and his name is never used again.
    async fn is_erased(&self, caller: &Caller) -> Result<bool, Error> {
        let Some(user) = caller.user() else { return Ok(false) };
        Ok(self.app.rights.is_alive(user, self.wait).await? == Some(false))
    }
}

/// Answers one request: what is in memory at once, on the thread that has the connection, and everything else
/// on the workers, so that no picture in memory waits behind an upload or the ledger.
pub fn handle(
    app: Arc<App>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> {
    let ids = Ids::of(request.headers());
    if let Some(answer) = ids.during(|| at_hand(&app, peer, &request, &ids)) {
        return future::Either::Left(answer);
    }
    let workers = app.workers.clone();
    // Who hangs up drops it, which ends what it does.
    let mut work = JoinSet::new();
    work.spawn_on(ids.clone().through(work_on(app, peer, request, ids.clone())), &workers);
    future::Either::Right(async move {
        let failed = match work.join_next().await {
            Some(Ok(answered)) => return answered,
            Some(Err(error)) => ids.during(|| Error::internal(&error)),
            None => ids.during(|| Error::internal(&"nothing was begun")),
        };
        let mut response = told(failed, &ids);
        ids.request.say(response.headers_mut());
        response
    })
}

/// The answer to a request for an image, if nothing has to be waited for.
fn at_hand(
    app: &App,
    peer: IpAddr,
    request: &Request<Incoming>,
    ids: &Ids,
) -> Option<impl Future<Output = Response<Body>> + use<>> {
    let began = Instant::now();
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let Ok(route @ Route::Deliver { id, options }) = find(app, request.version(), method, uri, headers)
    else {
        return None;
    };
    if !request.body().is_end_stream() {
        return None;
    }
    let (needs, now_micros) = (route.needs(), clock::now_micros());
    let cx = Context { app, method, uri, headers, peer, needs, wait: Wait::MayNot, now_micros };
    let answer = deliver::deliver(&cx, id, options).now_or_never()?;
    let mut response = answer.unwrap_or_else(|error| told(error, ids));
    finish(app, ids, method, route.label(), began.elapsed(), &mut response);
    Some(not_too_soon(began, response))
}

/// What he who asked is told instead.
fn told(error: Error, ids: &Ids) -> Response<Body> {
    error.into_response(&ids.request).map(full)
}

/// What is done with every answer: it is counted, logged where it is to be, and says which request it is to.
///
/// What caches may share says so only to whoever named the request himself: a cache would repeat it to others, and
/// only he knows to put his own in its place.
fn finish(
    app: &App,
    ids: &Ids,
    method: &Method,
    route: &'static str,
    took: Duration,
    response: &mut Response<Body>,
) {
    let status = response.status();
    app.metrics.answered(route, status, took);
    let code = response.extensions().get().map(|Code(code)| *code);
    if let Some(code) = code {
        app.metrics.refused(status, code);
    }
    if app.requests.wants(status, code) {
        let bytes = if *method == Method::HEAD { Some(0) } else { response.body().size_hint().exact() };
        let tier = response.extensions().get().map(|tier: &Tier| tier.as_str());
        app.requests.write(&Answered { method, route, status, code, bytes, tier, took });
    }
    let is_shared = |control: &HeaderValue| control.as_bytes().starts_with(b"public");
    if ids.request.is_given() || !response.headers().get(header::CACHE_CONTROL).is_some_and(is_shared) {
        ids.request.say(response.headers_mut());
    }
}

/// Where a request goes.
fn find<'r>(
    app: &App,
    version: Version,
    method: &Method,
    uri: &'r Uri,
    headers: &HeaderMap,
) -> Result<Route<'r>, Error> {
    // Who stands between may have taken another of two for the one that counts (RFC 9112 §3.2).
    if version == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Error::bad_request("bad_request", "A request of HTTP/1.1 has one `Host`, and no more."));
    }
    if app.dev {
        demo::require_loopback_host(headers)?;
    }
    route::find(method, uri.path(), app.config.server.role, app.dev)
}

async fn work_on(app: Arc<App>, peer: IpAddr, mut request: Request<Incoming>, ids: Ids) -> Response<Body> {
    let is_tus = tus::is_path(request.uri().path());
    if is_tus && let Some(method) = tus::overriding_method(request.headers()) {
        *request.method_mut() = method;
    }
    let mut response = if idempotency::is_asked_for(request.method(), request.headers()) {
        // A client that hangs up ends its request's task. This one goes on, so that what it did is
        // known when the client asks again.
        let answered = tokio::spawn(log::carry(respond(app, peer, request, ids.clone()))).await;
        answered.unwrap_or_else(|error| {
            let mut response = told(Error::internal(&error), &ids);
            ids.request.say(response.headers_mut());
            response
        })
    } else {
        respond(app, peer, request, ids).await
    };
    if is_tus {
        tus::say_version(response.headers_mut());
    }
    response
}

async fn respond(app: Arc<App>, peer: IpAddr, request: Request<Incoming>, ids: Ids) -> Response<Body> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let server = &app.config.server;
    let mut body = Paced::new(
        body,
        Pace {
            patience: Duration::from_secs(server.body_idle_timeout_secs),
            min_bytes_per_sec: server.body_min_bytes_per_sec,
        },
    );
    let found = find(&app, parts.version, &parts.method, &parts.uri, &parts.headers);
    let label = found.as_ref().map_or("none", Route::label);
    let answer = match found {
        Ok(route) => answer(&app, peer, &parts, route, &mut body).await,
        Err(error) => Err(error),
    };
    let response = answer.unwrap_or_else(|error| told(error, &ids));
    let mut response = not_too_soon(began, response).await;
    finish(&app, &ids, &parts.method, label, began.elapsed(), &mut response);
    if !body.is_end_stream() && !parts.headers.contains_key(header::EXPECT) {
        // A client that is still sending reads no answer before it is done.
        tokio::spawn(body::discard(body));
    }
    response
}

/// The answer, once saying it tells nothing by how soon it came.
async fn not_too_soon(began: Instant, response: Response<Body>) -> Response<Body> {
    if says_that_nothing_is_there(&response) {
        tokio::time::sleep_until(began + LEAST_FOR_NOTHING).await;
    }
    response
}

/// Whether he who asked, or the edge that he asked, is told that there is nothing.
fn says_that_nothing_is_there(response: &Response<Body>) -> bool {
    let told_to_edge = response.headers().get(deliver::PINHOLE_STATUS);
    response.status() == StatusCode::NOT_FOUND || told_to_edge.is_some_and(|status| status == "404")
}

async fn answer(app: &App, peer: IpAddr, parts: &Parts, route: Route<'_>, body: &mut Paced) -> Answer {
    let cx = Context {
        app,
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        peer,
        needs: route.needs(),
        wait: Wait::May,
        now_micros: clock::now_micros(),
    };
    if route.is_counted() {
        cx.count().await?;
    }
    if idempotency::is_asked_for(cx.method, cx.headers) && route != Route::DemoSignIn {
        idempotency::once(&cx, route, body).await
    } else {
        run(&cx, route, Sent::Coming(body)).await
    }
}

/// Runs a route's handler.
async fn run(cx: &Context<'_>, route: Route<'_>, body: Sent<'_>) -> Answer {
    match route {
        Route::Deliver { id, options } => deliver::deliver(cx, id, options).await,

        Route::Authorize => deliver::authorize(cx).await,

        Route::CreateImage => api::images::create(cx, body).await,
        Route::ListImages => api::images::list(cx).await,
        Route::GetImage(id) => api::images::get(cx, id).await,
        Route::DeleteImage(id) => api::images::delete(cx, id).await,
        Route::RevokeImage(id) => api::images::revoke(cx, id).await,
        Route::HoldImage(id) => api::images::set_held(cx, id, true).await,
        Route::ReleaseImage(id) => api::images::set_held(cx, id, false).await,

        Route::CreateUpload => api::uploads::create(cx, body).await,
        Route::CompleteUpload(id) => api::uploads::complete(cx, id).await,
        Route::CancelUpload(id) => api::uploads::cancel(cx, id).await,

        Route::TusOptions => Ok(api::tus::options(cx)),
        Route::TusCreate => api::tus::create(cx).await,
        Route::TusHead(id) => api::tus::head(cx, id).await,
        Route::TusPatch(id) => api::tus::patch(cx, id, body).await,
        Route::TusTerminate(id) => api::tus::terminate(cx, id).await,

        Route::CreatePost => api::posts::create(cx, body).await,
        Route::ListPosts => api::posts::list(cx).await,
        Route::GetPost(id) => api::posts::get(cx, id).await,
        Route::PatchPost(id) => api::posts::patch(cx, id, body).await,
        Route::DeletePost(id) => api::posts::delete(cx, id).await,

        Route::GetProfile => api::profiles::mine(cx).await,
        Route::PutProfile => api::profiles::put(cx, body).await,
        Route::GetProfileOf(user) => api::profiles::of(cx, user).await,

        Route::Follow(user) => api::following::follow(cx, user).await,
        Route::Unfollow(user) => api::following::unfollow(cx, user).await,
        Route::RemoveFollower(user) => api::following::remove_follower(cx, user).await,

        Route::CreateLinks => api::links::create(cx, body).await,

        Route::EraseUser(user) => api::users::erase(cx, user).await,
        Route::GetErasure(id) => api::users::show(cx, id).await,

        Route::Describe => describe::describe(cx),

        Route::DemoPage => Ok(demo::page(cx)),
        Route::DocsPage => Ok(demo::docs()),
        Route::DemoFile(name) => demo::file(name),
        Route::DemoSignIn => demo::sign_in(cx, body).await,
        Route::DemoSignOut => Ok(demo::sign_out()),
    }
}

/// A body of bytes at hand.
fn full(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}
