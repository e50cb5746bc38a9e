//! Asks the server as its users do, by `server.public_url`.

use http::header;

use super::{finding::Finding, tools::Asker};
use crate::{config::Config, id::ImageId};

const ANSWERS: &str = "server.answers";
const REFUSALS: &str = "server.refusals";
const CLOCK: &str = "server.clock";

pub(super) async fn check(config: &Config, asker: &Asker) -> Vec<Finding> {
    let url = &config.server.public_url;
    if url.is_empty() {
        return vec![Finding::skipped(ANSWERS, "server.public_url is not set")];
    }
    // Nobody has asked for it before, so that no cache has it.
    let unknown = format!("{url}/i/{}/original", ImageId::new());
    let (answer, clock) = tokio::join!(asker.get(&unknown), asker.clock(CLOCK, url, &unknown));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Finding::fail(
                ANSWERS,
                format_args!("{url}: {error}"),
                "start pinhole serve, or mend server.public_url, its name, its certificate or the proxy there",
            )];
        }
    };
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let is_ours = answer.status() == 404 && problem["code"] == "not_found";
    if !is_ours {
        return vec![
            Finding::fail(
                ANSWERS,
                format_args!(
                    "{url} answers with {} to an image that is not there, and not as pinhole",
                    answer.status()
                ),
                "lead /i/ of server.public_url to pinhole, with path and query as they were sent",
            ),
            clock,
        ];
    }
    let control = answer.headers().get(header::CACHE_CONTROL);
    let refusals = if control.is_some_and(|control| control == "no-store") {
        Finding::pass(REFUSALS, "a refusal may not be kept (no-store)")
    } else {
        Finding::fail(
            REFUSALS,
            format_args!("a refusal comes with Cache-Control {control:?}, and may be kept"),
            "let proxy and edge pass on pinhole's Cache-Control as it is",
        )
    };
    vec![Finding::pass(ANSWERS, format_args!("{url} leads to pinhole")), refusals, clock]
}
