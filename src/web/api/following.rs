//! `/v1/following` and `/v1/followers`: who sees an author's followers-only posts.

use super::{
    super::{Answer, Context},
    no_content, user_in_path,
};
use crate::{config::Follows, db::users, error::Error, id::UserId, identity::Caller};

/// `PUT /v1/following/{user}`
pub(in crate::web) async fn follow(cx: &Context<'_>, user: &str) -> Answer {
    let caller = cx.caller().await?;
    if cx.app.config.follows == Follows::Service && matches!(caller, Caller::User { by_service: false, .. }) {
        return Err(Error::forbidden(
            "service_only",
            "Here the app says who follows whom: its service does this, with On-Behalf-Of.",
        ));
    }
    let follower = cx.user().await?;
    let followee = user_in_path(user)?;
    if follower == followee {
        return Err(Error::invalid_field("user", "nobody follows himself"));
    }
    let mut tx = cx.app.db.begin().await?;
    if !users::ensure(&mut tx, &followee, cx.now_micros).await? {
        return Err(Error::not_found());
    }
    // Neither is erased meanwhile; always in the same order, so that nobody waits for him who waits for him.
    let mut both = [&follower, &followee];
    both.sort_unstable();
    for user in both {
        if !users::lock_alive(&mut tx, user).await? {
            return Err(if *user == follower { Error::erased() } else { Error::not_found() });
        }
    }
    users::follow(&mut tx, &follower, &followee, cx.now_micros).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `DELETE /v1/following/{user}`
pub(in crate::web) async fn unfollow(cx: &Context<'_>, user: &str) -> Answer {
    let follower = cx.user().await?;
    end(cx, &follower, &user_in_path(user)?).await
}

/// `DELETE /v1/followers/{user}`
pub(in crate::web) async fn remove_follower(cx: &Context<'_>, user: &str) -> Answer {
    let followee = cx.user().await?;
    end(cx, &user_in_path(user)?, &followee).await
}

/// The follower's own right ends with the row; links that he holds live on to their `exp`.
async fn end(cx: &Context<'_>, follower: &UserId, followee: &UserId) -> Answer {
    let mut tx = cx.app.db.begin().await?;
    users::unfollow(&mut tx, follower, followee).await?;
    tx.commit().await?;
    Ok(no_content())
}
