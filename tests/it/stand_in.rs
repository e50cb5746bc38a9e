//! What stands in for an edge, or for the API of one: a server that notes what it is told, and answers as it is
//! told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::PATIENCE;

/// The secret of every webhook here.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Answers {
    With(u16, &'static str),
    /// With a header besides.
    Saying(u16, &'static str, String),
    /// Not at all.
    Never,
}

#[derive(Debug)]
struct State {
    seen: Vec<Seen>,
    answers: Answers,
    /// Before those.
    first: VecDeque<Answers>,
}

/// A running one, as long as the test's runtime runs.
#[derive(Clone, Debug)]
pub struct Edge {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Edge {
    /// Takes whatever it is told.
    pub async fn start() -> Self {
        Self::answering(Answers::With(200, r#"{"success": true}"#)).await
    }

    pub async fn answering(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { seen: Vec::new(), answers, first: VecDeque::new() }));
        let edge = Self { url, state };
        let accepting = edge.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let edge = accepting.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| edge.clone().answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        edge
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let answers = {
            let mut state = self.state.lock().unwrap();
            let path = head.uri.path_and_query().unwrap().to_string();
            let (method, headers) = (head.method.to_string(), head.headers);
            state.seen.push(Seen { method, path, headers, body, at: Instant::now() });
            state.first.pop_front().unwrap_or_else(|| state.answers.clone())
        };
        let (status, name, value, body) = match answers {
            Answers::With(status, body) => (status, "x-nothing", String::new(), body),
            Answers::Saying(status, name, value) => (status, name, value, ""),
            Answers::Never => std::future::pending().await,
        };
        let response = Response::builder().status(status).header(name, value);
        Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
    }

    /// Answers otherwise from now on.
    pub fn answers(&self, answers: Answers) {
        self.state.lock().unwrap().answers = answers;
    }

    /// Answers the next one otherwise.
    pub fn once(&self, answers: Answers) {
        self.state.lock().unwrap().first.push_back(answers);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Waits until so many requests have come; all that have.
    pub async fn until_seen(&self, many: usize) -> Vec<Seen> {
        let began = Instant::now();
        loop {
            let seen = self.seen();
            if seen.len() >= many {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "{many} requests never came, but these: {seen:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The epochs that a webhook was told.
    pub fn epochs(&self) -> Vec<i64> {
        self.seen().iter().map(|seen| seen.json()["data"]["epoch"].as_i64().unwrap()).collect()
    }
}
