//! `/v1/users` and `/v1/erasures`: a user leaves, and a receipt says what is gone.

use std::time::Duration;

use http::{StatusCode, header};
use serde::Serialize;

use super::{
    super::{Answer, Context, headers},
    json, user_in_path,
};
use crate::{
    clock,
    db::{
        erasures::{self, ErasureRow},
        outbox,
    },
    error::Error,
    id::{ErasureId, UserId},
    identity::Caller,
    log,
};

/// How often an erasure is tried before it is left to the sweeper, and how long it waits in between: what
/// was on its way into the bucket is there by then.
const ERASE_TRIES: usize = 4;
const ERASE_PAUSE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Receipt {
    id: ErasureId,
    user: UserId,
    state: &'static str,
    originals: i64,
    variants: i64,
    open_uploads: i64,
    /// Purges that the erasure has written, and those of the user's images that edges are yet to be sent.
    edge_purges: i64,
    edge_purges_left: i64,
    verified_gone: i64,
    grants_until: Option<String>,
    requested_at: String,
    done_at: Option<String>,
}

async fn receipt(cx: &Context<'_>, row: ErasureRow) -> Result<Receipt, Error> {
    let edge_purges_left =
        if row.done { 0 } else { outbox::left_of_user(&mut cx.app.db.read().await?, &row.user).await? };
    Ok(Receipt {
        id: row.id,
        user: row.user,
        state: if row.done { "done" } else { "running" },
        originals: row.originals,
        variants: row.variants,
        open_uploads: row.open_uploads,
        edge_purges: row.edge_purges,
        edge_purges_left,
        verified_gone: row.verified_gone,
        grants_until: row.grants_until_micros.map(clock::rfc3339),
        requested_at: clock::rfc3339(row.requested_micros),
        done_at: row.done_micros.map(clock::rfc3339),
    })
}

/// `DELETE /v1/users/{user}`: nobody sees anything of him from the answer on; the rest is a job.
pub(in crate::web) async fn erase(cx: &Context<'_>, user: &str) -> Answer {
    let caller = cx.caller().await?;
    let user = user_in_path(user)?;
    match &caller {
        Caller::Service => {}
        Caller::User { id, .. } if *id == user => cx.ensure(&user).await?,
        Caller::User { .. } => return Err(Error::not_found()),
        Caller::Anonymous => {
            return Err(Error::unauthenticated(
                "Sign in: send Authorization: Bearer <token or service key>.",
            ));
        }
    }
    let mut tx = cx.app.db.begin().await?;
    let id = erasures::begin(&mut tx, &user, cx.now_micros).await?;
    tx.commit().await?;
    let row = erasures::get(&mut cx.app.db.read().await?, id).await?.ok_or_else(Error::not_found)?;
    if !row.done {
        let (sweeper, row) = (cx.app.sweeper.clone(), row.clone());
        tokio::spawn(log::carry(async move {
            for _ in 0..ERASE_TRIES {
                match sweeper.erase_user(&row, clock::now_micros()).await {
                    Ok(true) => break,
                    Ok(false) => tokio::time::sleep(ERASE_PAUSE).await,
                    Err(error) => {
                        tracing::warn!("the erasure goes on with the next sweep: {error}");
                        break;
                    }
                }
            }
        }));
    }
    let mut response = json(StatusCode::ACCEPTED, &receipt(cx, row).await?)?;
    headers::insert(response.headers_mut(), header::LOCATION, &format!("/v1/erasures/{id}"));
    Ok(response)
}

/// `GET /v1/erasures/{id}`: for the service, and for him who is erased. It is the one thing that his
/// token is still good for; to everybody else the receipt is not there.
pub(in crate::web) async fn show(cx: &Context<'_>, id: &str) -> Answer {
    let caller = cx.identified().await?;
    let row = match ErasureId::parse(id) {
        Some(id) => erasures::get(&mut cx.app.db.read().await?, id).await?,
        None => None,
    };
    match (caller, row) {
        (Caller::Anonymous, _) => {
            Err(Error::unauthenticated("Sign in: send Authorization: Bearer <token or service key>."))
        }
        (Caller::Service, Some(row)) => json(StatusCode::OK, &receipt(cx, row).await?),
        (Caller::User { id, .. }, Some(row)) if row.user == id => {
            json(StatusCode::OK, &receipt(cx, row).await?)
        }
        // An erased user is told so, as everywhere.
        _ => cx.caller().await.and(Err(Error::not_found())),
    }
}
